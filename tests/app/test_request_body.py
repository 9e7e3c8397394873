"""The client's body: who watches it ends when nobody wants the rest, whatever becomes of the cancellation."""

import asyncio
from typing import Any

import pytest

from app.request_body import RequestBody


@pytest.mark.parametrize("message", [{"type": "http.request", "body": b"x", "more_body": True}, {"type": "other"}])
async def test_a_cancellation_that_ends_in_a_piece_ends_the_watching_all_the_same(message: dict[str, Any]) -> None:
    """When a piece comes at that very moment."""

    async def receive() -> dict[str, Any]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return message
        raise AssertionError

    body = RequestBody(receive, length=None if message["type"] == "http.request" else 0, max_bytes=9, keep_bytes=9)
    watching = asyncio.create_task(body.watch())
    await asyncio.sleep(0)

    body.leave()
    watching.cancel()

    async with asyncio.timeout(60):
        await asyncio.wait([watching])
    assert watching.done()

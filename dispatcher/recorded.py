"""Events as the `database` backend has kept them, made whole again: the way back of `backends/database.py`.

What is not in the tables is not in the event: bodies that retention has deleted, and how the project recorded then.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Final, cast

from bus.event import Body, Cut, ExchangeFinished, Tier, Usage
from sql.database import Connection
from sql.repositories import requests
from sql.rows import BodyRow, RequestFilter, RequestRow

_PAGE: Final = 200
_NAMES: Final = frozenset(ExchangeFinished.__struct_fields__) & frozenset(RequestRow.__struct_fields__)


async def recorded(on: Connection, chosen: RequestFilter) -> AsyncIterator[ExchangeFinished]:
    """Newest first; what is recorded while it runs is not among them."""
    before: tuple[int, str] | None = None
    while page := await requests.list_page(on, chosen, before=before, limit=_PAGE):
        for row in page:
            yield event_of(row, await requests.bodies(on, row.event_id))
        before = (page[-1].accepted_at_ms, page[-1].event_id)


def event_of(row: RequestRow, bodies: Sequence[BodyRow]) -> ExchangeFinished:
    known = {name: getattr(row, name) for name in _NAMES} | {"cut": cast(Cut, row.cut)}
    sides = {body.side: _body(body) for body in bodies}
    return ExchangeFinished(
        **known,
        usage=_usage(row),
        recording="full" if sides else "metadata",
        request_body=sides.get("request"),
        response_body=sides.get("response"),
    )


def _usage(row: RequestRow) -> Usage | None:
    if row.input_tokens is None:
        return None
    return Usage(
        input=row.input_tokens,
        cache_read=row.cache_read_tokens or 0,
        cache_write=row.cache_write_tokens or 0,
        cache_write_1h=row.cache_write_1h_tokens or 0,
        output=row.output_tokens or 0,
        reasoning=row.reasoning_tokens or 0,
        audio_input=row.audio_input_tokens or 0,
        audio_output=row.audio_output_tokens or 0,
        service_tier=cast(Tier, row.service_tier),
    )


def _body(row: BodyRow) -> Body:
    return Body(row.data, row.content_type, row.content_encoding, row.truncated)

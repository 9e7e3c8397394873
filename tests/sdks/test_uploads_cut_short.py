"""An answer that comes before the whole upload has gone out is the answer, not a broken connection."""

import asyncio
import threading
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.sdks.conftest import shipped_apis
from tests.sdks.records import Records
from tests.support.proxy import Proxy
from tests.support.upstream import Upstream

SIZES = [900_000, 5_000_000, 40_000_000]
TOLD = b'{"error": {"message": "their words", "type": "their_type", "code": "their_code"}}'


async def answer_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As a provider's edge does with what it will not take: answer, then let the rest run out, then close."""
    await reader.readuntil(b"\r\n\r\n")
    head = b"HTTP/1.1 413 X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(TOLD) + TOLD)
    while await reader.read(65536):
        pass
    writer.close()


@pytest.fixture(scope="module")
def hasty_port() -> Iterator[int]:
    """A server that does not wait for a request's body."""
    ports: list[int] = []
    is_up, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with await asyncio.start_server(answer_at_once, "127.0.0.1", 0) as server:
            ports.append(server.sockets[0].getsockname()[1])
            loops.append(asyncio.get_running_loop())
            is_up.set()
            await stop.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    assert is_up.wait(60)
    yield ports[0]
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(10)


@pytest.fixture(scope="module")
def shared_proxy(
    shared_upstream: Upstream, hasty_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    apis = shipped_apis(shared_upstream)
    apis["openai"]["base_url"] = f"http://127.0.0.1:{hasty_port}"
    proxy = Proxy(tmp_path_factory.mktemp("hasty"), shared_upstream, apis=apis)
    try:
        yield proxy.start()
    finally:
        proxy.kill()


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_an_upstream_that_answers_before_it_has_the_whole_body_is_heard(
    openai_client: OpenAI, records: Records, size: int
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        openai_client.files.create(file=bytes(size), purpose="batch")

    assert (caught.value.status_code, caught.value.code) == (413, "their_code")
    event = records.the_one()
    assert (event.status, event.code, event.cut) == (413, "", "")


@pytest.mark.parametrize("size", SIZES)
def test_a_refused_token_is_heard_before_the_whole_body_has_gone_out(
    openai_client: OpenAI, records: Records, size: int
) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        openai_client.with_options(api_key="sk-wrong").files.create(file=bytes(size), purpose="batch")

    assert caught.value.code == "invalid_token"
    assert records.the_one().status == 401

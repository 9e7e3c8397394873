"""HTTPS_PROXY and NO_PROXY: the way to an https upstream leads through a proxy, or not, and its refusals are clear."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from app.errors import UpstreamUnreachable
from app.upstreams.egress import DIRECT, Egress
from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from tests.app.upstreams.conftest import Dial
from tests.app.upstreams.test_upstream_conformance import OK, asked, get, post
from tests.support.certificates import server_tls
from tests.support.raw_http import Peer, RawServer, always, raw_server

NAME = "acme.example"
"""Only the proxies of these tests know where it is."""
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
Script = Callable[[Peer], Awaitable[None]]


def egress_by(proxy: RawServer, *, user: str = "", no_proxy: str = "") -> Egress:
    url = f"http://{user}127.0.0.1:{proxy.port}"
    return Egress.of(Settings(https_proxy=Secret(url), no_proxy=no_proxy))


def tunnelling_to(server: RawServer) -> Script:
    async def tunnel(peer: Peer) -> None:
        await peer.request()
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await peer.send(ESTABLISHED)
        with suppress(ConnectionError):
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(peer.reader, writer))
                both.create_task(_copy(reader, peer.writer))

    return tunnel


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()


@pytest.fixture
async def acme(tmp_path: Path) -> AsyncIterator[RawServer]:
    async with raw_server(always(OK), tls=server_tls(tmp_path, NAME)) as server:
        yield server


async def test_an_https_upstream_is_reached_through_the_proxy_over_one_tunnel(
    upstream_at: Dial, acme: RawServer, tmp_path: Path
) -> None:
    async with raw_server(tunnelling_to(acme)) as proxy:
        egress = egress_by(proxy, user="us:s%40fe@")
        upstream = upstream_at(url=f"https://{NAME}:8443", egress=egress, ca_file=str(tmp_path / "trusted.pem"))
        answers = [await asked(upstream, request) for request in (get(), post(b"x" * 100_000), get())]
        await upstream.close()

    assert answers == [(200, b"ok")] * 3
    (asked_for,) = proxy.received
    assert (asked_for.method, asked_for.target) == ("CONNECT", f"{NAME}:8443")
    expected = b"Basic " + b64encode(b"us:s@fe")
    assert dict(asked_for.headers)[b"proxy-authorization"] == expected
    assert all(b"proxy-authorization" not in dict(request.headers) for request in acme.received)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", "status 407"),
        (b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", "status 503"),
    ],
)
async def test_a_proxy_that_refuses_is_told_by_its_status(
    upstream_at: Dial, tmp_path: Path, answer: bytes, told: str
) -> None:
    async with raw_server(always(answer)) as proxy:
        with pytest.raises(UpstreamUnreachable, match=f"HTTPS_PROXY.*{told}"):
            await asked(upstream_at(url=f"https://{NAME}", egress=egress_by(proxy)), get())


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200", b"SSH-2.0-OpenSSH\r\n\r\n", b"x" * 100_000, ESTABLISHED + b"HTTP/1.1 200 OK\r\n"],
    ids=["nothing", "half", "another protocol", "no end", "more than was asked for"],
)
async def test_a_proxy_that_answers_nonsense_is_told_and_left(http1_at: Dial, answer: bytes) -> None:
    async def says(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with raw_server(says) as proxy:
        with pytest.raises(UpstreamUnreachable, match="HTTPS_PROXY"):
            await asked(http1_at(url=f"https://{NAME}", egress=egress_by(proxy)), get())


async def test_a_certificate_of_the_proxy_is_not_taken_for_the_upstreams(upstream_at: Dial, tmp_path: Path) -> None:
    async with (
        raw_server(always(OK), tls=server_tls(tmp_path, "proxy.example")) as impostor,
        raw_server(tunnelling_to(impostor)) as proxy,
    ):
        ca_file = str(tmp_path / "trusted.pem")
        with pytest.raises(UpstreamUnreachable):
            await asked(upstream_at(url=f"https://{NAME}", egress=egress_by(proxy), ca_file=ca_file), post(b"secret"))

    assert impostor.received == []


def test_what_is_named_in_no_proxy_is_reached_directly() -> None:
    settings = Settings(https_proxy=Secret("http://proxy:3128"), no_proxy="example.com, .internal,10.0.0.7:8443")
    egress = Egress.of(settings)

    direct = ["https://example.com", "https://a.example.com/v1", "https://x.internal", "https://10.0.0.7:8443"]
    direct += ["https://localhost:1", "https://127.0.0.1", "https://[::1]:8443", "http://api.openai.com"]
    assert [url for url in direct if egress.proxy_to(url)] == []
    tunnelled = ["https://api.openai.com/v1", "https://notexample.com", "https://10.0.0.7"]
    assert [url for url in tunnelled if egress.proxy_to(url) is None] == []
    everything = Egress.of(Settings(https_proxy=Secret("http://proxy:3128"), no_proxy="*"))
    assert everything.proxy_to("https://api.openai.com") is None


@pytest.mark.parametrize("url", ["proxy:3128", "https://proxy:3128", "socks5://proxy", "http://proxy:no", "http://"])
def test_a_proxy_that_is_none_stops_the_start_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="HTTPS_PROXY must be http://"):
        Egress.of(Settings(https_proxy=Secret(url)))


def test_without_a_proxy_everything_is_direct() -> None:
    assert Egress.of(Settings()) is DIRECT

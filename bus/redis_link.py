"""The connection to Redis or Valkey: no silent retries, bounded waits, and errors told as ours.

redis-py re-sends a write up to ten times when its answer is late, which makes two entries of one. Here every error
leaves the outcome unknown, the connection is dropped, and whoever wrote asks the server what it has.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Self
from urllib.parse import quote

import redis.asyncio as aioredis
from redis.asyncio.connection import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from bus.errors import BusError, BusUnavailable
from config.secret import Secret
from config.settings import Settings

_CONNECT_S: Final = 2.0  # at most; a server that takes longer to be reached is away
_CONNECTIONS: Final = 16
_MOVES: Final = 2  # nodes asked after the first, while a slot moves
_OLDEST: Final = (6, 2)
_GUARD_EVERY_S: Final = 1.0
_FULLEST: Final = 0.7  # of maxmemory: above it the pending lists and dead letters need what is left
_PASSING: Final = (
    *(AskError, BusyLoadingError, ClusterDownError, MasterDownError, NoPermissionError),
    *(OutOfMemoryError, ReadOnlyError, TryAgainError),
)
_PASSING_CODES: Final = ("MISCONF ", "NOREPLICAS ", "READONLY ")
"""Refusals that a failover, a restart, some room or an operator will heal. Of those that redis-py knows it takes the
code out of the text; servers before 7 tell a script's only in the middle of another error."""


def redis_url(settings: Settings) -> Secret:
    """REDIS_URL, or what REDIS_ADDR, REDIS_DB and REDIS_PASSWORD say. Raises BusError when there is neither."""
    if settings.redis_url is not None:
        return settings.redis_url
    if not settings.redis_addr:
        raise BusError("LLM_PROXY_EVENT_BUS=redis-streams needs REDIS_URL or REDIS_ADDR")
    password = f":{quote(settings.redis_password.reveal(), safe='')}@" if settings.redis_password else ""
    scheme = "rediss" if settings.redis_ca_file else "redis"
    return Secret(f"{scheme}://{password}{settings.redis_addr}/{settings.redis_db}")


class RedisLink:
    """Two pools: one for what answers at once, one whose sockets may wait for a blocking read."""

    def __init__(self, url: Secret, *, longest_block_s: float = 2.0, answer_s: float = 5.0, ca_file: str = "") -> None:
        """`answer_s`: for an answer, beyond the BLOCK of a read that blocks. `ca_file`: whom rediss:// trusts; empty is
        the system's list."""
        self.node = ""
        """host:port of the cluster's node that has our slot; empty: whoever answers at the URL."""
        self._url, self._ca_file = url, ca_file
        self._answer_s, self._patient_s = answer_s, longest_block_s + answer_s
        self._quick, self._patient = self._client(self._answer_s), self._client(self._patient_s)
        self._scripts: dict[str, Any] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises BusError when the settings name no server."""
        return cls(redis_url(settings), answer_s=settings.redis_timeout_ms / 1000, ca_file=settings.redis_ca_file)

    async def call(self, *command: Any) -> Any:
        return await self._told(lambda: self._quick.execute_command(*command))  # type: ignore[no-untyped-call]

    async def block(self, *command: Any) -> Any:
        """A command that may wait at the server. Never cancel it: what it has taken would belong to nobody."""
        return await self._told(lambda: self._patient.execute_command(*command))  # type: ignore[no-untyped-call]

    async def run(self, script: str, keys: list[bytes], arguments: list[Any]) -> Any:
        """A Lua script of ours, by EVALSHA; loaded again where the server does not know it."""
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = self._quick.register_script(script)
        return await self._told(lambda: registered(keys=keys, args=arguments, client=self._quick))

    async def info(self, section: str) -> Mapping[str, str]:
        """A section of INFO: works where CONFIG is forbidden."""
        text: bytes = await self.call("INFO", section)
        pairs = (line.partition(":") for line in text.decode().splitlines() if ":" in line)
        return {name: value for name, _, value in pairs}

    async def drop(self) -> None:
        """Closes all connections: behind the name there may be another server by now."""
        await self._quick.connection_pool.disconnect(inuse_connections=False)
        await self._patient.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        for client in (self._quick, self._patient):  # redis-py leaves a pool open that it did not make itself
            await client.aclose(close_connection_pool=True)

    async def _told(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """redis-py now and then lets a cancellation end in an answer; a task that goes on after it may never end."""
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        try:
            return await self._asked(ask)
        finally:
            if task and task.cancelling() > before:
                raise asyncio.CancelledError

    async def _asked(self, ask: Callable[[], Awaitable[Any]], moves: int = _MOVES) -> Any:
        try:
            return await ask()
        except MovedError as error:  # a node that does not have the slot has done nothing: to ask again doubles nothing
            if not moves:
                raise BusUnavailable("the cluster's nodes do not agree where our slot is") from error
            await self._go_to(error.host, error.port)
            return await self._asked(ask, moves - 1)
        except ResponseError as error:
            if isinstance(error, _PASSING) or any(code in str(error) for code in _PASSING_CODES):
                await self.drop()
                raise BusUnavailable(f"Redis refuses for now: {error}") from error
            raise
        except (RedisError, OSError, TimeoutError) as error:
            await (self._go_to("", 0) if self.node else self.drop())
            raise BusUnavailable(f"Redis did not answer ({type(error).__name__})") from error

    async def _go_to(self, host: str, port: int) -> None:
        """All of ours lies in one slot, so one node has everything. Without a port: back to the URL. What runs on the
        connections that there were ends there."""
        self.node = f"{host}:{port}" if port else ""
        before = self._quick, self._patient
        self._quick, self._patient = self._client(self._answer_s), self._client(self._patient_s)
        for client in (self._quick, self._patient):
            named = {"host": host, "port": port} if host else {"port": port}
            client.connection_pool.connection_kwargs.update(named if port else {})
        for client in before:
            await client.connection_pool.disconnect(inuse_connections=False)

    def _client(self, socket_s: float) -> "aioredis.Redis":
        trust = {"ssl_ca_certs": self._ca_file} if self._ca_file else {}
        pool: Any = BlockingConnectionPool.from_url(
            self._url.reveal(),
            max_connections=_CONNECTIONS,
            timeout=socket_s,
            socket_timeout=socket_s,
            socket_connect_timeout=min(_CONNECT_S, self._answer_s),
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            protocol=2,
            **trust,
        )
        client = aioredis.Redis(connection_pool=pool)
        client.response_callbacks.clear()  # answers as they come over the wire, the same from every server and version
        return client


async def check_server(link: RedisLink) -> str:
    """A line on how durable this server is. Raises BusError when events would be lost on it in silence."""
    server, memory, persistence = await link.info("server"), await link.info("memory"), await link.info("persistence")
    version = str(server.get("valkey_version") or server["redis_version"])
    if tuple(int(n) for n in str(server["redis_version"]).split(".")[:2]) < _OLDEST:
        raise BusError(f"Redis {version} is too old for the event bus; 6.2 or newer is needed")
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    if evicts_any_key(memory):
        raise BusError(
            f"Redis evicts any key (maxmemory-policy {policy}), events too; set it to noeviction or use another server"
        )
    grade = (
        "AOF" if int(persistence.get("aof_enabled", 0)) else "no AOF: after a crash relays send again what they hold"
    )
    name = "Valkey" if "valkey_version" in server else "Redis"
    return f"{name} {version}, {policy}, {grade}"


def evicts_any_key(memory: Mapping[str, str]) -> bool:
    """Whether a server whose INFO memory this is throws away keys that have no expiry, the stream among them."""
    return memory.get("maxmemory_policy", "").startswith("allkeys-")


class MemoryGuard:
    """Keeps room on the server to deliver what it has: the spool is the buffer."""

    def __init__(self, link: RedisLink) -> None:
        self._link, self._asked_at = link, -_GUARD_EVERY_S

    async def check(self) -> None:
        """Looks once a second. Raises BusUnavailable while nothing may be appended."""
        if time.monotonic() - self._asked_at < _GUARD_EVERY_S:
            return
        memory = await self._link.info("memory")
        most, used = int(memory.get("maxmemory", 0)), int(memory.get("used_memory", 0))
        if evicts_any_key(memory):
            raise BusUnavailable("Redis evicts any key, so also events; set maxmemory-policy noeviction")
        if most and used > most * _FULLEST:
            raise BusUnavailable(f"Redis uses {used * 100 // most} % of its maxmemory; events wait in the spool")
        self._asked_at = time.monotonic()

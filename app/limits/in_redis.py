"""How to reach Redis, and how its scripts are called: apart, since a worker without it need not import its library."""

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from redis.asyncio.connection import parse_url

from app.limits.resp import CountsAway, Resp, command
from app.limits.shared import VERBS
from config.secret import Secret

_LUA: Final = Path(__file__).with_name("lua")


class InRedis:
    def __init__(self, url: Secret, *, ca_file: str = "") -> None:
        self._url, self._ca_file = url, ca_file
        self._scripts = {name: (_LUA / f"{name}.lua").read_bytes() for name in VERBS}
        self._node: tuple[str, int] | None = None
        """The node of a cluster that has our slot; None until one has told."""

    def verb(self, name: str) -> list[bytes]:
        return [b"EVALSHA", hashlib.sha1(self._scripts[name], usedforsecurity=False).hexdigest().encode()]

    async def connect(self, make: Callable[[], Resp]) -> Resp:
        told: dict[str, Any] = dict(parse_url(self._url.reveal()))
        link = await self._dial(make, told)
        try:
            for words in self._greeting(told):
                await link.ask(command(words))
        except CountsAway as error:
            link.close()
            self._node = None
            raise CountsAway(f"Redis refuses: {error}") from error
        except BaseException:  # the greeting took too long
            link.close()
            raise
        return link

    def refused(self, why: str) -> None:
        """A cluster says which node has our slot (MOVED slot host:port)."""
        words = why.split()
        if len(words) == 3 and words[0] == "MOVED":
            host, _, port = words[2].rpartition(":")
            self._node = host or parse_url(self._url.reveal()).get("host", "localhost"), int(port)
        else:
            self._node = None

    async def _dial(self, make: Callable[[], Resp], told: dict[str, Any]) -> Resp:
        loop = asyncio.get_running_loop()
        if "path" in told:
            return (await loop.create_unix_connection(make, told["path"]))[1]
        host, port = self._node or (told.get("host", "localhost"), told.get("port", 6379))
        is_tls = self._url.reveal().startswith("rediss:")
        context = ssl.create_default_context(cafile=self._ca_file or None) if is_tls else None
        return (await loop.create_connection(make, host, port, ssl=context))[1]

    def _greeting(self, told: dict[str, Any]) -> Iterable[list[bytes]]:
        if "password" in told:
            user = [told["username"].encode()] if told.get("username") else []
            yield [b"AUTH", *user, told["password"].encode()]
        if told.get("db"):
            yield [b"SELECT", b"%d" % told["db"]]
        for text in self._scripts.values():
            yield [b"SCRIPT", b"LOAD", text]

"""HTTP for backends: one pool of connections each, and every status and fault given its meaning in one place.

2xx                                    the backend reads the body
400, 413, 422                          Permanent, doubted until the event is alone
3xx, 401, 403, 404, 410 and their kin  Retry: the settings are wrong, and no event is to blame
408, 425, 429, 503, any Retry-After    Retry
other 5xx, lost connections, time-outs Unknown
any other 4xx                          halved like a refusal, and tried again when it is alone
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from msgspec import Struct

from config.clock import Clock, SystemClock
from config.secret import Secret
from dispatcher.backends.base import Outcome, Permanent, Retry, Unknown
from dispatcher.backends.connections import Connections
from dispatcher.backends.excerpts import excerpt
from dispatcher.bodies import decoded

MISCONFIGURED: Final = frozenset({401, 402, 403, 404, 405, 406, 407, 410, 411, 414, 415, 421, 426, 431, 451})
_BUSY: Final = frozenset({408, 425, 429, 503})
_ANSWER_BYTES: Final = 1024 * 1024  # the results of the largest batch fit; what is longer is not read on
_CONNECT_S: Final = 5.0
_KEEP_ALIVE_S: Final = 30.0  # below what load balancers close at, so that few requests meet a closed connection
_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

for _name in ("httpx", "httpcore"):  # they log addresses and headers, in which keys are
    logging.getLogger(_name).setLevel(logging.WARNING)


class Rules(Struct, frozen=True):
    """Where a backend differs from the picture above."""

    taken: frozenset[int] = frozenset()
    """Statuses beside 2xx that say: it is there already. The body is the backend's to read."""
    refused: frozenset[int] = frozenset({400, 413, 422})
    misconfigured: frozenset[int] = MISCONFIGURED


class Answer(Struct, frozen=True):
    status: int
    body: bytes
    """Decoded; its first MiB."""

    @property
    def is_web_page(self) -> bool:
        """No API answers with one: the address leads to something else."""
        return self.body.lstrip()[:1] == b"<"


class Endpoint:
    """Posts to one URL. Redirects are not followed: they would carry keys and records to another host."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        secrets: Sequence[Secret],
        fixed_by: str,
        timeout_s: float,
        at_once: int,
        rules: Rules | None = None,
        clock: Clock | None = None,
    ) -> None:
        """`fixed_by` names the settings to look at when the endpoint says no; `secrets` are masked in what it says."""
        self._url = httpx.URL(url)
        self._host = self._url.netloc.decode("ascii")
        self._headers = {"accept-encoding": "identity", "user-agent": "llm-proxy", **headers}
        self._secrets = secrets
        self._fixed_by = fixed_by
        self._timeout = httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
        self._limits = httpx.Limits(
            max_connections=at_once, max_keepalive_connections=at_once, keepalive_expiry=_KEEP_ALIVE_S
        )
        self._rules = rules or Rules()
        self._clock = clock or SystemClock()
        self._connections = Connections(self._new_client)

    def open(self) -> None:
        self._connections.open()

    async def close(self) -> None:
        await self._connections.close()

    async def post(
        self, content: bytes, headers: Mapping[str, str], *, until: float, is_alone: bool
    ) -> Answer | Outcome:
        """The answer when it is the backend's to read, otherwise what it means. `until` is the loop's time; `is_alone`
        says that one event was sent and nothing else can be to blame. Never raises for what the other side does."""
        try:
            async with asyncio.timeout_at(until):
                response, body = await self._exchange(content, headers)
        except TimeoutError:
            return Unknown(f"{self._host} did not answer in time")
        except _NEVER_SENT as error:
            return Retry(f"{self._host} cannot be reached: {_told(error)}")
        except httpx.TransportError as error:
            return Unknown(f"the connection to {self._host} broke: {_told(error)}")
        if response.is_success or response.status_code in self._rules.taken:
            return Answer(response.status_code, body)
        return self._meaning(response, body, is_alone=is_alone)

    def excerpt(self, text: str) -> str:
        """What the other side said, without the secrets of this endpoint."""
        return excerpt(text, self._secrets)

    async def _exchange(self, content: bytes, headers: Mapping[str, str]) -> tuple[httpx.Response, bytes]:
        async with (
            self._connections.one_call() as client,
            client.stream("POST", self._url, content=content, headers=dict(headers)) as response,
        ):
            body = bytearray()
            async for piece in response.aiter_raw():
                body += piece
                if len(body) >= _ANSWER_BYTES:
                    break
        return response, _plain(bytes(body[:_ANSWER_BYTES]), response.headers.get("content-encoding", ""))

    def _new_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers=self._headers, timeout=self._timeout, limits=self._limits, follow_redirects=False
        )

    def _meaning(self, response: httpx.Response, body: bytes, *, is_alone: bool) -> Outcome:
        status, rules = response.status_code, self._rules
        said = f"{self._host} answered {status}"
        with_excerpt = f"{said}: {self.excerpt(body.decode('utf-8', 'replace'))}".rstrip(": ")
        if status in rules.refused:
            return Permanent(with_excerpt, is_sure=is_alone)
        if response.is_redirect:
            return Retry(f"{said}, a redirect to {_host_of(response)}; check {self._fixed_by}")
        if status in rules.misconfigured or status < 400:
            return Retry(f"{with_excerpt}; check {self._fixed_by}")
        after_ms = retry_after_ms(response.headers.get("retry-after", ""), self._clock.now_ms())
        if status in _BUSY or after_ms is not None:
            return Retry(said, after_ms)
        if status >= 500:
            return Unknown(said)
        return Retry(with_excerpt) if is_alone else Permanent(with_excerpt)


def retry_after_ms(value: str, now_ms: int) -> int | None:
    """Of a Retry-After header, in seconds or as a date; None when there is none that can be read."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return int(value[:9]) * 1000
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:  # `-0000`: UTC, says RFC 5322
        date = date.replace(tzinfo=UTC)
    return max(0, int(date.timestamp() * 1000) - now_ms)


def _plain(body: bytes, content_encoding: str) -> bytes:
    """We ask for no encoding; who encodes all the same is read as far as it goes, within bounds."""
    return decoded(body, content_encoding) or b"" if content_encoding else body


def _host_of(redirect: httpx.Response) -> str:
    """Only the host: paths and queries of redirects hold sessions and keys."""
    try:
        return httpx.URL(redirect.headers.get("location", "")).host or "the same host"
    except httpx.InvalidURL:
        return "no valid address"


def _told(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__

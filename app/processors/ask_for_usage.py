"""AskForUsage: lets CallUpstream ask a chat stream for its usage, and keeps the answer from a client that did not ask.

It stands outside Record, which reads the usage before it is taken out.
"""

from urllib.parse import unquote

from app.asked_usage import WithoutUsage
from app.exchange import Exchange, Headers, Proceed
from app.reply import Reply
from config.errors import ConfigError
from config.providers import Providers

_EVENT_STREAM = b"text/event-stream"


def check_providers(names: tuple[str, ...], providers: Providers) -> None:
    """Raises ConfigError where a word of LLM_PROXY_INCLUDE_USAGE names no provider of OpenAI's dialect."""
    known = [name for name, provider in providers.by_name.items() if provider.dialect == "openai"]
    if unknown := [name for name in names if name not in known]:
        there = ", ".join(known)
        raise ConfigError(
            [f"LLM_PROXY_INCLUDE_USAGE: no {', '.join(unknown)} that speaks OpenAI's dialect, only {there}"]
        )


class AskForUsage:
    def __init__(self, providers: tuple[str, ...]) -> None:
        """By name, those of LLM_PROXY_INCLUDE_USAGE."""
        self._providers = frozenset(providers)

    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        if exchange.provider.name in self._providers and _is_chat(exchange):
            exchange.facts.may_ask_for_usage = True
            exchange.reply = _ReplyWithoutUsage(exchange.reply, exchange)
        await proceed(exchange)


def _is_chat(exchange: Exchange) -> bool:
    is_readable = exchange.header(b"content-encoding") is None
    return exchange.method == "POST" and is_readable and unquote(exchange.path).endswith("/chat/completions")


class _ReplyWithoutUsage:
    def __init__(self, inner: Reply, exchange: Exchange) -> None:
        self._inner = inner
        self._facts = exchange.facts
        self._filter: WithoutUsage | None = None

    @property
    def is_started(self) -> bool:
        return self._inner.is_started

    @property
    def is_finished(self) -> bool:
        return self._inner.is_finished

    async def start(self, status: int, headers: Headers) -> None:
        """A length that the provider tells is that of its own stream."""
        if self._facts.has_asked_for_usage and _is_readable_stream(headers):
            self._filter = WithoutUsage()
            headers = [(name, value) for name, value in headers if name != b"content-length"]
        await self._inner.start(status, headers)

    async def write(self, chunk: bytes, *, last: bool = False) -> None:
        if self._filter is not None:
            chunk = self._filter.feed(chunk) + (self._filter.rest() if last else b"")
        if chunk or last:
            await self._inner.write(chunk, last=last)

    async def finish(self) -> None:
        if self._filter is not None and not self.is_finished and (rest := self._filter.rest()):
            await self._inner.write(rest)
        await self._inner.finish()


def _is_readable_stream(headers: Headers) -> bool:
    heads = dict(headers)
    return heads.get(b"content-type", b"").startswith(_EVENT_STREAM) and b"content-encoding" not in heads

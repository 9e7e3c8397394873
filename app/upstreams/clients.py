"""Which HTTP client lies behind `Upstream`, and one upstream for each provider."""

from collections.abc import Callable, Mapping
from typing import Final

from app.upstreams.egress import DIRECT, Egress
from app.upstreams.http1_upstream import Http1Upstream
from app.upstreams.upstream import Upstream, UpstreamStats
from config.provider import Provider
from config.settings import UpstreamClient


def _aiohttp(provider: Provider, egress: Egress) -> Upstream:
    from app.upstreams.aiohttp_upstream import AiohttpUpstream  # a third of a worker's start

    return AiohttpUpstream(provider, egress)


_CLIENTS: Final[Mapping[UpstreamClient, Callable[[Provider, Egress], Upstream]]] = {
    "aiohttp": _aiohttp,
    "http1": Http1Upstream,
}


class ByProvider:
    """Upstreams, each opened when it is first needed."""

    def __init__(self, client: UpstreamClient, egress: Egress = DIRECT) -> None:
        self._make, self._egress = _CLIENTS[client], egress
        self._by_name: dict[str, Upstream] = {}

    def of(self, provider: Provider) -> Upstream:
        upstream = self._by_name.get(provider.name)
        if upstream is None:
            upstream = self._by_name[provider.name] = self._make(provider, self._egress)
        return upstream

    def stats(self) -> dict[str, UpstreamStats]:
        """By the provider's name."""
        told = ((name, upstream.stats()) for name, upstream in self._by_name.items())
        return {name: stats for name, stats in told if stats}

    async def close(self) -> None:
        for upstream in self._by_name.values():
            await upstream.close()

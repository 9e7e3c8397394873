"""What an exchange costs, in micro-dollars: an override of yours first, then the price list that is shipped.

On the hot path: a look into a bounded memory and a few multiplications. Unknown is None, never 0.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from app.pricing.catalogue import Catalogue, seller_of
from app.pricing.rates import Rates, as_prices, rates_of
from bus.event import PriceSource, Tier, Usage
from config.prices.override import PriceOverride
from config.prices.snapshot import Model, Price, Row, Snapshot, read_snapshot
from config.provider import Provider

_KEPT: Final = 4096  # models that are remembered; clients may ask for any name
_TELLING: Final = frozenset({"openrouter"})
"""Whose own figure is believed: elsewhere a field of that name may be in another currency, or a part of the bill."""
_MINUTE_MS: Final = 60_000
_DAY_MINUTES: Final = 1440
_WHENS: Final[dict[Tier, tuple[dict[str, str], ...]]] = {
    "batch": ({"processing": "batch"}, {"service_tier": "batch"}),
    "flex": ({"service_tier": "flex"},),
    "priority": ({"service_tier": "priority"},),
    "fast": ({"service_tier": "fast"}, {"speed": "fast"}),
}


class _Found(NamedTuple):
    minute: int
    """Prices begin and end at whole minutes: what was found is right for this one."""
    rates: Rates | None
    source: PriceSource


class Prices:
    """`providers` are ours: by their addresses one knows who sells, and they may have prices of their own."""

    def __init__(self, providers: Sequence[Provider] = (), *, snapshot: Snapshot | None = None) -> None:
        self._snapshot = snapshot or read_snapshot()
        self._sellers = {p.name: seller_of(self._snapshot, p.name, p.base_url, p.dialect) for p in providers}
        self._catalogues: dict[str, Catalogue] = {}
        self._configured = [override for provider in providers for override in provider.prices]
        self._overrides: list[PriceOverride] = []
        self._found: dict[tuple[str, str, str], _Found] = {}
        self._models: dict[tuple[str, str], Model | None] = {}
        self.replace_overrides(())
        for seller in {seller for seller in self._sellers.values() if seller}:
            self._catalogue(seller)  # decoded now and not at a client's first call

    def replace_overrides(self, stored: Sequence[PriceOverride]) -> None:
        """Those of the database, which count before those of the providers file."""
        by_rank = [sorted(part, key=lambda o: o.rank, reverse=True) for part in (stored, self._configured)]
        self._overrides = [override for part in by_rank for override in part]
        self._found.clear()

    def cost_microusd(self, provider: str, dialect: str, model: str, usage: Usage, at_ms: int) -> int | None:
        """None: the model, or a class that was used, has no price."""
        return self.priced(provider, dialect, model, usage, at_ms)[0]

    def estimate_microusd(
        self, provider: str, dialect: str, model: str, input_tokens: int, output_tokens: int, at_ms: int
    ) -> int | None:
        """As if nothing were cached and all were text."""
        usage = Usage(input=input_tokens, output=output_tokens)
        return self.cost_microusd(provider, dialect, model, usage, at_ms)

    def priced(
        self, provider: str, dialect: str, model: str, usage: Usage, at_ms: int
    ) -> tuple[int | None, PriceSource]:
        """The cost, and who set the price. What the provider itself tells counts before all else."""
        if usage.told_cost_microusd is not None and self._seller(provider, dialect) in _TELLING:
            return usage.told_cost_microusd, "provider"
        minute = at_ms // _MINUTE_MS
        found = self._found.get((provider, model, usage.service_tier))
        if found is None or found.minute != minute:
            found = self._remember(provider, dialect, model, usage.service_tier, minute)
        cost = None if found.rates is None else found.rates.cost_microusd(usage)
        return (None, "") if cost is None else (cost, found.source)

    def _remember(self, provider: str, dialect: str, model: str, tier: Tier, minute: int) -> _Found:
        if len(self._found) >= _KEPT:
            self._found.clear()
        found = self._find(provider, dialect, model.lower().removeprefix("models/"), tier, minute)
        self._found[provider, model, tier] = found
        return found

    def _find(self, provider: str, dialect: str, model: str, tier: Tier, minute: int) -> _Found:
        at_ms = minute * _MINUTE_MS
        for override in self._overrides:
            if override.provider == provider and override.is_for(model, at_ms):
                return _Found(minute, rates_of(as_prices(override.prices)), "override")
        seller = self._seller(provider, dialect)
        sold = self._sold(seller, model) if model and seller else None
        if sold is None or seller is None:
            return _Found(minute, None, "")
        prices = _in_force(sold, tier, minute)
        return _Found(minute, None if prices is None else rates_of(prices, seller), "list")

    def _seller(self, provider: str, dialect: str) -> str | None:
        if provider not in self._sellers and len(self._sellers) < _KEPT:
            self._sellers[provider] = seller_of(self._snapshot, provider, "", dialect)
        return self._sellers.get(provider)

    def _sold(self, seller: str, name: str) -> Model | None:
        if (seller, name) not in self._models:
            if len(self._models) >= _KEPT:
                self._models.clear()
            self._models[seller, name] = self._look_for(seller, name)
        return self._models[seller, name]

    def _look_for(self, seller: str, name: str) -> Model | None:
        """Some sell what others make, at the makers' prices."""
        found = self._catalogue(seller).find(name)
        others = iter(self._snapshot.providers[seller].fallback if found is None else ())
        while found is None and (other := next(others, None)):
            found = self._catalogue(other).find(name)
        return found

    def _catalogue(self, seller: str) -> Catalogue:
        if seller not in self._catalogues:
            self._catalogues[seller] = Catalogue(self._snapshot.models_of(seller))
        return self._catalogues[seller]


def _in_force(model: Model, tier: Tier, minute: int) -> dict[str, Price] | None:
    """None: the price list knows nothing of that tier of the model."""
    standard = next((row for row in reversed(model.prices) if _is_in_force(row, minute)), model.prices[0]).prices
    if not tier:
        return standard
    rows = [row for row in model.variants if row.when in _WHENS[tier] and _is_in_force(row, minute)]
    if not rows:
        return None
    prices = dict(standard)
    for row in reversed(rows):
        prices |= row.prices
    return prices


def _is_in_force(row: Row, minute: int) -> bool:
    if row.from_minute is not None:
        return minute >= row.from_minute
    if row.minutes is None:
        return True
    begin, end = row.minutes
    now = minute % _DAY_MINUTES
    return begin <= now < end if begin <= end else now >= begin or now < end

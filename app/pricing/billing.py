"""What an event says about its cost, and the alarm where nothing is known."""

import logging
from typing import Final, NamedTuple

from app.metrics import Metrics
from app.pricing.prices import Prices
from bus.event import PriceSource, Usage
from config.logs import log
from config.provider import Provider

logger = logging.getLogger(__name__)

_TOLD: Final = 1000  # models that are warned of, each once; clients may ask for any name


class Bill(NamedTuple):
    cost_microusd: int | None = None
    price_source: PriceSource = ""


class Billing:
    def __init__(self, prices: Prices, metrics: Metrics) -> None:
        self._prices = prices
        self._metrics = metrics
        self._told: set[tuple[str, str]] = set()

    def bill(self, provider: Provider, asked: str, answered: str, usage: Usage | None, at_ms: int) -> Bill:
        """By the model that answered, which is named more exactly; else by the one that was asked for."""
        if usage is None:
            return Bill()
        for model in (answered, asked) if answered and answered != asked else (asked,):
            cost, source = self._prices.priced(provider.name, provider.dialect, model, usage, at_ms)
            if cost is not None:
                self._metrics.count(f'llm_proxy_cost_microusd_total{{provider="{provider.name}"}}', cost)
                return Bill(cost, source)
        self._alarm(provider.name, answered or asked, usage)
        return Bill()

    def _alarm(self, provider: str, model: str, usage: Usage) -> None:
        self._metrics.count(f'llm_proxy_cost_unknown_total{{provider="{provider}"}}')
        if (provider, model) in self._told or len(self._told) >= _TOLD:
            return
        self._told.add((provider, model))
        log(
            logger,
            logging.WARNING,
            "no price is known for this model, or for a class of usage; set one with `llm-proxy manage prices set`",
            provider=provider,
            model=model,
            service_tier=usage.service_tier,
        )

"""Prices as rates: for each class of usage an integer of millionths of a micro-dollar, so that sums are exact."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Final

from msgspec import Struct

from bus.event import Usage
from config.prices.override import ClassPrices
from config.prices.snapshot import Price

_WAYS: Final[dict[str, tuple[str, ...]]] = {
    "input": ("input_mtok",),
    "cache_read": ("cache_read_mtok", "input_mtok"),
    "cache_write": ("cache_write_mtok", "input_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok", "input_mtok"),
    "output": ("output_mtok",),
    "reasoning": ("output_reasoning_mtok", "output_mtok"),
    "audio_input": ("input_audio_mtok", "input_mtok"),
    "audio_output": ("output_audio_mtok", "output_mtok"),
    "audio_cache_read": ("cache_audio_read_mtok", "input_audio_mtok", "cache_read_mtok", "input_mtok"),
    "image_input": ("input_image_mtok", "input_mtok"),
    "image_output": ("output_image_mtok", "output_mtok"),
    "video_input": ("input_video_mtok", "input_mtok"),
    "video_output": ("output_video_mtok", "output_mtok"),
    "audio_ms": ("input_audio_hours", "audio_hours"),
    "web_searches": ("web_searches_kcount",),
}
"""Class of usage to the prices that are asked for in turn: who has no price for cached input bills it as input."""
CLASSES: Final = tuple(_WAYS)
_AUDIO: Final = frozenset({"audio_input", "audio_output", "audio_cache_read"})
_OWN_AUDIO: Final = frozenset({"openai", "azure"})
"""They bill audio at ten times the text: where the list has no price for it, it is unknown, not that of text."""
_counts = attrgetter(*CLASSES)
_PER: Final = {"_mtok": 1e6, "_kcount": 1e9, "_hours": 1e12 / 3_600_000}
"""Dollars of a price into millionths of a micro-dollar for one token, one count, one millisecond."""
_HALF: Final = 500_000


class Rates(Struct, frozen=True):
    steps: tuple[tuple[int, tuple[int | None, ...]], ...]
    """With more input tokens than the first number, the rates behind it; largest first, the last one is for all."""
    per_request: int = 0

    def cost_microusd(self, usage: Usage) -> int | None:
        """None when a class that was used has no price. Rounded to the next micro-dollar."""
        rates = self.steps[-1][1]
        if len(self.steps) > 1:
            prompt = usage.prompt_tokens
            rates = next(rates for above, rates in self.steps if prompt > above or not above)
        cost = self.per_request
        for count, rate in zip(_counts(usage), rates, strict=True):
            if count:
                if rate is None:
                    return None
                cost += count * rate
        return (cost + _HALF) // 1_000_000


def rates_of(prices: Mapping[str, Price], seller: str = "") -> Rates:
    starts = {start for price in prices.values() if isinstance(price, list) for start, _ in price} | {0}
    steps = tuple((start, _at(prices, start, seller)) for start in sorted(starts, reverse=True))
    return Rates(steps=steps, per_request=_rate("requests_kcount", prices.get("requests_kcount", 0.0), 0))


def as_prices(prices: ClassPrices) -> dict[str, Price]:
    """An override in the words of the price list."""
    named = {"audio_hour": "audio_ms"}
    told = ((name, getattr(prices, name)) for name in ClassPrices.__struct_fields__)
    return {_WAYS[named.get(name, name)][0]: price for name, price in told if price is not None}


def _at(prices: Mapping[str, Price], above: int, seller: str) -> tuple[int | None, ...]:
    return tuple(_rate_of(name, prices, above, seller) for name in CLASSES)


def _rate_of(name: str, prices: Mapping[str, Price], above: int, seller: str) -> int | None:
    ways = _WAYS[name]
    is_own = name in _AUDIO and seller in _OWN_AUDIO
    if is_own or (name == "cache_write_1h" and "cache_write_mtok" in prices):
        ways = ways[:1]
    return next((_rate(way, prices[way], above) for way in ways if way in prices), None)


def _rate(key: str, price: Price, above: int) -> int:
    if isinstance(price, list):
        price = next(value for start, value in reversed(price) if start <= above)
    return round(price * _PER[key[key.rindex("_") :]])

"""A price that an admin sets: in the providers file (`prices:`) or through `/manage/prices`.

Prices are US dollars per million model tokens of a class; those named otherwise say so.
"""

from datetime import UTC, date, datetime
from fnmatch import translate
from functools import lru_cache
from re import Pattern, compile
from typing import Annotated, Literal

from msgspec import Meta, Struct

Dollars = Annotated[float, Meta(ge=0, le=1_000_000)]
PriceClass = Literal[
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "audio_input",
    "audio_output",
    "audio_cache_read",
    "image_input",
    "image_output",
    "video_input",
    "video_output",
    "audio_hour",
    "web_searches",
]
"""The fields of ClassPrices."""
ModelGlob = Annotated[str, Meta(min_length=1, max_length=256)]


class ClassPrices(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """None: as a plainer class is (cached and audio as input, reasoning as output); unknown where there is none."""

    input: Dollars | None = None
    output: Dollars | None = None
    cache_read: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    reasoning: Dollars | None = None
    audio_input: Dollars | None = None
    audio_output: Dollars | None = None
    audio_cache_read: Dollars | None = None
    image_input: Dollars | None = None
    image_output: Dollars | None = None
    video_input: Dollars | None = None
    video_output: Dollars | None = None
    audio_hour: Dollars | None = None
    """For an hour of sound."""
    web_searches: Dollars | None = None
    """For a thousand searches."""


class PriceOverride(Struct, frozen=True, kw_only=True):
    provider: str
    """As the providers file names it."""
    model: str
    """A name or a glob, in lower case."""
    prices: ClassPrices
    from_ms: int | None = None
    until_ms: int | None = None
    """Not included."""

    def is_for(self, model: str, at_ms: int) -> bool:
        is_in_force = (self.from_ms or 0) <= at_ms and (self.until_ms is None or at_ms < self.until_ms)
        return is_in_force and _pattern(self.model).match(model) is not None

    @property
    def rank(self) -> tuple[int, int]:
        """Of several the highest counts: the longest pattern, then the latest beginning."""
        return len(self.model), self.from_ms or 0


class OverrideRow(ClassPrices, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}, kw_only=True):
    """One entry of `prices:` in the providers file. Days are in UTC; `until` is the first day without it."""

    model: ModelGlob
    since: date | None = None
    until: date | None = None

    @property
    def prices(self) -> ClassPrices:
        return ClassPrices(**{name: getattr(self, name) for name in ClassPrices.__struct_fields__})

    def mistake(self) -> str:
        """What the types let through; empty when it is right."""
        if self.prices == ClassPrices():
            return "names no price"
        return "`until` is not after `from`" if self.since and self.until and self.until <= self.since else ""

    def of(self, provider: str) -> PriceOverride:
        return PriceOverride(
            provider=provider,
            model=self.model.lower(),
            prices=self.prices,
            from_ms=None if self.since is None else day_ms(self.since),
            until_ms=None if self.until is None else day_ms(self.until),
        )


def day_ms(day: date) -> int:
    """Its beginning in UTC, milliseconds since the epoch."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> Pattern[str]:
    return compile(translate(glob))

"""The price list that is shipped: `snapshot.json`, taken from genai-prices by `config.prices.take`.

Prices are US dollars per million model tokens (`_mtok`), per thousand (`_kcount`) or per hour (`_hours`). The models of
a provider are decoded when they are first asked for: a worker needs a few of fifty.
"""

from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

FILE: Final = Path(__file__).with_name("snapshot.json")
_EPOCH: Final = date(1970, 1, 1)

Clause = Any
"""A text is equality, a list is any of its parts, `{"all"}`, `{"starts"}`, `{"ends"}`, `{"contains"}`, `{"regex"}`."""
Price = float | list[tuple[int, float]]
"""A number, or steps: with more input tokens than the first number, everything costs the second."""


class Row(Struct, frozen=True, rename={"since": "from"}):
    """Prices of a time: from a day (UTC) on, or at a time of day, in minutes after midnight (UTC)."""

    prices: dict[str, Price]
    since: date | None = None
    minutes: tuple[int, int] | None = None
    when: dict[str, str] = {}
    """Of a variant: what must be told of the call."""

    @property
    def from_minute(self) -> int | None:
        """Since the epoch."""
        return None if self.since is None else (self.since - _EPOCH).days * 1440


class Model(Struct, frozen=True):
    match: Clause
    prices: list[Row]
    """The last one that is in force counts, or the first."""
    variants: list[Row] = []
    """Each lays its prices over them; the first in force that has one counts."""


class Seller(Struct, frozen=True):
    """Who sells, and by what one knows it."""

    urls: str
    names: Clause = None
    fallback: list[str] = []
    """Whose prices count for models that it does not list itself."""


class Snapshot(Struct, frozen=True):
    source: str
    sha256: str
    taken: str
    providers: dict[str, Seller]
    models: dict[str, Raw]

    def models_of(self, seller: str) -> list[Model]:
        return _models.decode(self.models[seller]) if seller in self.models else []


_models = msgspec.json.Decoder(list[Model])


@cache
def read_snapshot() -> Snapshot:
    """Ours: a mistake in it is a mistake in this program, and a test reads every line."""
    return msgspec.json.decode(FILE.read_bytes(), type=Snapshot)

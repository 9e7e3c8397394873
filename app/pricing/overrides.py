"""The prices that the database has: read at the start, and again whenever a change tells of one."""

import logging

import msgspec

from app.pricing.prices import Prices
from config.logs import log
from config.prices.override import ClassPrices, PriceOverride
from sql.repositories import prices
from sql.rows import ChangeRow, PriceRow
from sql.stores import Stores

logger = logging.getLogger(__name__)


class OverrideFollower:
    def __init__(self, stores: Stores, obeyed_by: Prices) -> None:
        self._stores = stores
        self._prices = obeyed_by
        self._rows: list[PriceRow] = []

    async def read(self, _: ChangeRow | None = None) -> None:
        """All of them. Raises StoreError."""
        rows = await prices.read_all(self._stores.main)
        if rows != self._rows:
            self._rows = rows
            self._prices.replace_overrides([override for row in rows if (override := _override(row))])


def _override(row: PriceRow) -> PriceOverride | None:
    """None where a newer program has written it: the list counts."""
    try:
        costs = msgspec.json.decode(row.prices, type=ClassPrices)
    except msgspec.MsgspecError as error:
        log(logger, logging.ERROR, "a price cannot be read", price_id=row.id, error=str(error))
        return None
    return PriceOverride(
        provider=row.provider, model=row.model, prices=costs, from_ms=row.from_ms or None, until_ms=row.until_ms
    )

"""Prices of the database are obeyed by workers, and those of a newer program do no harm."""

from app.pricing.overrides import OverrideFollower
from app.pricing.prices import Prices
from bus.event import Usage
from sql.repositories import prices as stored
from sql.rows import PriceRow
from sql.stores import Stores
from tests.support.rows import NOW_MS

USAGE = Usage(input=1000)


def row(price_id: str, model: str, costs: str) -> PriceRow:
    return PriceRow(
        id=price_id, provider="openai", model=model, from_ms=0, until_ms=None, prices=costs,
        updated_at_ms=NOW_MS, updated_by="cli",
    )  # fmt: skip


async def test_a_worker_follows_what_is_set_and_removed(stores: Stores) -> None:
    prices = Prices()
    follower = OverrideFollower(stores, prices)

    def cost() -> int | None:
        return prices.cost_microusd("openai", "openai", "gpt-4o", USAGE, NOW_MS)

    await follower.read()
    listed = cost()
    await stored.put(stores.main, row("1", "gpt-4*", '{"input":7.0}'))
    await follower.read()
    overridden = cost()
    await stored.delete(stores.main, "1")
    await follower.read()

    assert (listed, overridden, cost()) == (2500, 7000, 2500)


async def test_a_price_that_cannot_be_read_is_passed_over(stores: Stores) -> None:
    prices = Prices()
    await stored.put(stores.main, row("1", "gpt-4o", '{"holograms":7.0}'))
    await stored.put(stores.main, row("2", "gpt-4*", '{"input":5.0}'))

    await OverrideFollower(stores, prices).read()

    assert prices.cost_microusd("openai", "openai", "gpt-4o", USAGE, NOW_MS) == 5000

"""Acts on prices: nothing wrong gets in, one price per models and time, and the audit log tells what changed."""

from typing import Any

import msgspec
import pytest

from admin.acts.errors import Conflict, Invalid, NotFound
from admin.acts.prices import prices_of, remove_price, set_price
from config.prices.override import ClassPrices
from sql.repositories import audit, changes, prices
from sql.rows import AuditFilter, PriceRow
from sql.stores import Stores
from tests.admin.acts.acting import ACTOR, NOON_MS, StillClock

COSTS = ClassPrices(input=2.5, output=10)


async def put(stores: Stores, model: str = "gpt-4.1*", costs: ClassPrices = COSTS, **more: Any) -> PriceRow:
    return await set_price(stores, StillClock(), ACTOR, provider="openai", model=model, costs=costs, **more)


async def audited(stores: Stores) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Newest first."""
    rows = await audit.list_page(stores.main, AuditFilter(), limit=50)
    return [
        (row.action, msgspec.json.decode(row.before or "{}"), msgspec.json.decode(row.after or "{}")) for row in rows
    ]


async def test_a_price_is_kept_with_its_audit_and_its_change(stores: Stores) -> None:
    row = await put(stores, model="GPT-4.1*", until_ms=NOON_MS)

    assert await prices.read_all(stores.main) == [row]
    assert (row.model, row.from_ms, row.until_ms, prices_of(row)) == (
        "gpt-4.1*", 0, NOON_MS, {"input": 2.5, "output": 10}
    )  # fmt: skip
    assert [(each.kind, each.key) for each in await changes.after(stores.main, 0, 9)] == [("prices", row.id)]
    told = {"provider": "openai", "model": "gpt-4.1*", "from_ms": 0, "until_ms": NOON_MS, "input": 2.5, "output": 10}
    assert await audited(stores) == [("price.set", {}, told)]


async def test_one_for_the_same_models_and_time_takes_its_place(stores: Stores) -> None:
    first = await put(stores)
    again = await put(stores, costs=ClassPrices(input=3, output=10))
    later = await put(stores, from_ms=NOON_MS)

    assert first.id == again.id != later.id
    assert [(row.from_ms, prices_of(row)["input"]) for row in await prices.read_all(stores.main)] == [
        (0, 3),
        (NOON_MS, 2.5),
    ]
    assert (await audited(stores))[1] == ("price.set", {"input": 2.5}, {"input": 3.0})


async def test_what_changes_nothing_leaves_no_trace(stores: Stores) -> None:
    await put(stores)
    await put(stores)

    assert len(await audited(stores)) == 1
    assert len(await changes.after(stores.main, 0, 9)) == 1


async def test_a_price_is_removed(stores: Stores) -> None:
    row = await put(stores)

    await remove_price(stores, StillClock(), ACTOR, row.id)

    assert await prices.read_all(stores.main) == []
    assert (await audited(stores))[0][:2][0] == "price.remove"
    with pytest.raises(NotFound):
        await remove_price(stores, StillClock(), ACTOR, row.id)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"model": ""}, "model"),
        ({"model": "gpt 4"}, "model"),
        ({"model": "gpt-4\n"}, "model"),
        ({"costs": ClassPrices()}, "prices"),
    ],
)
async def test_what_makes_no_sense_is_refused(stores: Stores, wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        await put(stores, **wrong)

    assert refused.value.field == field
    assert await prices.read_all(stores.main) == []


async def test_a_price_ends_after_its_beginning(stores: Stores) -> None:
    with pytest.raises(Conflict):
        await put(stores, from_ms=NOON_MS, until_ms=NOON_MS)


async def test_there_are_not_more_than_each_worker_can_hold(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MOST", 2)
    await put(stores, "a")
    await put(stores, "b")

    with pytest.raises(Conflict):
        await put(stores, "c")
    await put(stores, "b", ClassPrices(input=9))

"""/manage/prices as its callers see it, on both databases."""

import httpx

from sql.repositories import audit
from sql.rows import AuditFilter
from sql.stores import Stores

PRICES = "/manage/prices"
PRICE = {"provider": "openai", "model": "gpt-4.1*", "prices": {"input": 1.8, "cache_read": 0.45, "output": 7.2}}


async def test_a_price_is_set_listed_and_removed(manage: httpx.AsyncClient) -> None:
    made = await manage.put(PRICES, json={**PRICE, "from": "2026-12-01T00:00:00Z"})

    assert made.status_code == 200
    row = made.json()
    assert {name: row[name] for name in PRICE} == PRICE
    assert (row["from"], row["until"], row["updated_by"]) == ("2026-12-01T00:00:00.000Z", None, "management_token")
    assert (await manage.get(PRICES)).json() == [row]
    assert (await manage.delete(f"{PRICES}/{row['id']}")).status_code == 204
    assert (await manage.get(PRICES)).json() == []
    assert (await manage.delete(f"{PRICES}/{row['id']}")).status_code == 404


async def test_mistakes_are_told_and_the_attempt_is_audited(manage: httpx.AsyncClient, stores: Stores) -> None:
    unknown = await manage.put(PRICES, json={**PRICE, "provider": "nobody"})
    empty = await manage.put(PRICES, json={**PRICE, "prices": {}})
    typo = await manage.put(PRICES, json={**PRICE, "prices": {"inputs": 1}})
    negative = await manage.put(PRICES, json={**PRICE, "prices": {"input": -1}})
    spaced = await manage.put(PRICES, json={**PRICE, "model": "gpt 4"})

    assert [reply.status_code for reply in (unknown, empty, typo, negative, spaced)] == [422] * 5
    assert list(unknown.json()["fields"]) == ["provider"]
    assert list(empty.json()["fields"]) == ["prices"]
    [row] = await audit.list_page(stores.main, AuditFilter(), limit=9)
    assert (row.action, row.outcome) == ("price.set", "failure")

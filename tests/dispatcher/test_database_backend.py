"""The `database` backend on both databases: complete rows, once each, and one bad row alone."""

from pathlib import Path

import msgspec
import pytest

from bus.event import Body, ExchangeFinished, Usage
from bus.sqlite_log import SqliteLog
from config.settings import Settings
from dispatcher.backends.base import Ok, Outcome, Permanent, Retry, Unknown
from dispatcher.backends.database import DatabaseBackend, body_rows, request_row
from dispatcher.recorded import event_of
from sql.database import Database
from sql.errors import Conflict, SchemaMismatch, StoreError, StoreFull, StoreUnavailable, Unstorable
from sql.repositories import requests
from sql.rows import RequestFilter, RequestRow
from sql.stores import Stores, open_stores
from tests.dispatcher.scripted import at_work, delivered, feed, group_of, make_event
from tests.support.waiting import eventually_async


async def deliver(stores: Stores, *events: ExchangeFinished, deliveries: int = 1) -> list[Outcome]:
    return await DatabaseBackend(stores.records).deliver([delivered(event, deliveries) for event in events])


async def rows(stores: Stores) -> list[RequestRow]:
    return await requests.list_page(stores.records, RequestFilter(), limit=1000)


async def test_an_event_becomes_a_row_and_two_bodies(stores: Stores) -> None:
    event = make_event(
        response_body=Body(b"\x1f\x8b\x00zip", "application/json", "gzip", truncated=True), streamed=True, cut="client"
    )

    assert await deliver(stores, event) == [Ok()]

    assert await requests.get(stores.records, event.event_id) == request_row(event)
    assert await requests.bodies(stores.records, event.event_id) == body_rows(event)


async def test_a_second_delivery_changes_nothing(stores: Stores) -> None:
    event = make_event()
    await deliver(stores, event)

    assert await deliver(stores, event, make_event(2), deliveries=2) == [Ok(), Ok()]

    assert len(await rows(stores)) == 2
    assert len(await requests.bodies(stores.records, event.event_id)) == 2


async def test_unknown_usage_and_cost_are_null_and_known_ones_are_kept_apart(stores: Stores) -> None:
    unknown, known = make_event(1, usage=None), make_event(2, usage=Usage(1, 2, 3, 4, 5, 6, 7), cost_microusd=0)

    await deliver(stores, unknown, known)

    row = await requests.get(stores.records, unknown.event_id)
    assert row is not None
    assert {row.input_tokens, row.output_tokens, row.audio_output_tokens, row.cost_microusd} == {None}
    row = await requests.get(stores.records, known.event_id)
    assert row is not None
    assert (row.input_tokens, row.cache_read_tokens, row.cache_write_tokens, row.output_tokens) == (1, 2, 3, 4)
    assert (row.reasoning_tokens, row.audio_input_tokens, row.audio_output_tokens, row.cost_microusd) == (5, 6, 7, 0)


async def test_the_columns_of_a_row_add_up_to_what_the_provider_counted(stores: Stores) -> None:
    usage = Usage(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, service_tier="flex")
    event = make_event(1, usage=usage, cost_microusd=5, usage_source="estimate", price_source="list")

    await deliver(stores, event)

    row = await requests.get(stores.records, event.event_id)
    assert row is not None
    counted = sum(value for name, value in msgspec.structs.asdict(row).items() if name.endswith("_tokens"))
    assert counted == usage.prompt_tokens + usage.completion_tokens == 8191
    assert (row.cache_write_1h_tokens, row.usage_source, row.price_source) == (128, "estimate", "list")
    kept = event_of(row, []).usage
    assert kept is not None
    assert (kept.prompt_tokens, kept.service_tier) == (usage.prompt_tokens, "flex")


async def test_an_exchange_that_was_refused_or_interrupted_is_a_row_too(stores: Stores) -> None:
    bare = ExchangeFinished(
        event_id=make_event().event_id,
        request_id="r",
        accepted_at_ms=1,
        method="GET",
        path="/",
        status=0,
        cut="interrupted",
    )

    assert await deliver(stores, bare) == [Ok()]
    assert await requests.get(stores.records, bare.event_id) == request_row(bare)


async def test_text_with_zero_characters_is_stored_without_them(stores: Stores) -> None:
    event = make_event(model="gpt\x00-4", user_agent="\x00", path="/v1/\ufffd/ü/😀")

    assert await deliver(stores, event) == [Ok()]


async def test_one_bad_row_does_not_block_the_others(stores: Stores, tmp_path: Path) -> None:
    log = await SqliteLog.open(tmp_path / "bus.db")
    await log.ensure_groups(["database"])
    bad = make_event(3, usage=Usage(input=2**63 + 5))
    await feed(log, [make_event(1), make_event(2), bad, make_event(4)])

    async with at_work(DatabaseBackend(stores.records), log):  # type: ignore[arg-type]

        async def is_done() -> bool:
            group = await group_of(log, "database")
            return (group.delivered, group.dead) == (3, 1)

        await eventually_async(is_done)
    await log.close()

    assert sorted(row.request_id for row in await rows(stores)) == ["request-1", "request-2", "request-4"]


async def test_a_schema_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    stores = open_stores(Settings(data_dir=str(tmp_path)))

    (outcome,) = await deliver(stores, make_event())

    assert isinstance(outcome, Retry)
    assert "llm-proxy migrate up" in outcome.reason
    await stores.close()


class FailingDatabase:
    """Stands for a database in a state that is hard to bring about: fails each transaction in a given way."""

    dialect = "sqlite"

    def __init__(self, error: StoreError) -> None:
        self.error = error

    def transaction(self) -> Database:
        raise self.error


@pytest.mark.parametrize(
    ("error", "batch", "kind"),
    [
        (StoreUnavailable("away"), 2, Unknown),
        (StoreFull("full"), 2, Retry),
        (SchemaMismatch("old"), 2, Retry),
        (Unstorable("too long"), 1, Permanent),
        (Conflict("id"), 2, Permanent),
        (StoreError("no grant"), 2, Permanent),
        (StoreError("no grant"), 1, Retry),
    ],
)
async def test_what_fails_decides_whether_it_is_tried_again(error: StoreError, batch: int, kind: type[Outcome]) -> None:
    backend = DatabaseBackend(FailingDatabase(error))  # type: ignore[arg-type]

    outcomes = await backend.deliver([delivered(make_event(number)) for number in range(batch)])

    assert [type(outcome) for outcome in outcomes] == [kind] * batch


def test_every_field_of_the_row_is_filled_from_the_event() -> None:
    """A new field of the row must not be forgotten here."""
    event = make_event()
    row = msgspec.structs.asdict(request_row(event))

    shared = set(row) & set(msgspec.structs.asdict(event))
    kinds = (
        "input",
        "cache_read",
        "cache_write",
        "cache_write_1h",
        "output",
        "reasoning",
        "audio_input",
        "audio_output",
    )
    assert {name for name in row if name not in shared} == {"service_tier", *(f"{kind}_tokens" for kind in kinds)}
    assert all(row[name] == getattr(event, name) for name in shared)

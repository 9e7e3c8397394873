"""The dispatcher as the keeper composes it: settings in, events in database and file, clean stop."""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from bus.sqlite_log import SqliteLog
from config.clock import SystemClock
from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from dispatcher.housekeeping import delete_old_bodies, delete_old_minutes, every, tell_of_forgotten_groups
from dispatcher.main import BACKENDS, Dispatcher, backend_names, build_backends, run
from sql.errors import StoreUnavailable
from sql.repositories import changes, requests, rollups
from sql.stores import Stores
from tests.dispatcher.scripted import delivered, feed, group_of, make_event
from tests.support.waiting import eventually_async

DAY_MS = 86_400_000
KEYS = ("webhook_secret", "langfuse_public_key", "langfuse_secret_key", "helicone_api_key", "lunary_api_key")


class HeldClock:
    def __init__(self, now_ms: int) -> None:
        self.ms = now_ms

    def now_ms(self) -> int:
        return self.ms

    def monotonic_ns(self) -> int:
        return self.ms * 1_000_000


def quick(tmp_path: Path, **changes: object) -> Settings:
    values = {"data_dir": str(tmp_path), "dispatcher_min_idle_ms": 200, "dispatcher_backoff_ms": 1, **changes}
    return Settings(**values)  # type: ignore[arg-type]


def test_the_files_path_alone_turns_the_file_on() -> None:
    assert backend_names(Settings()) == ["database"]
    assert backend_names(Settings(file_event_log="x.jsonl")) == ["database", "file"]
    assert backend_names(Settings(dispatcher_backends=("file", "database"), file_event_log="x")) == ["file", "database"]


def test_every_backend_is_built_under_its_own_name(tmp_path: Path, sqlite_stores: Stores) -> None:
    keys = {name: Secret("key") for name in KEYS}
    urls = {"webhook_url": Secret("https://hooks.example/"), "otlp_endpoint": "http://collector.example:4318"}
    urls |= {"s3_bucket": "events"}
    path = str(tmp_path / "x.jsonl")
    settings = quick(tmp_path, dispatcher_backends=tuple(BACKENDS), file_event_log=path, **keys, **urls)

    assert [backend.name for backend in build_backends(settings, sqlite_stores)] == list(BACKENDS)


def test_all_mistakes_are_told_at_once_with_the_names_that_there_are(tmp_path: Path, sqlite_stores: Stores) -> None:
    with pytest.raises(ConfigError) as caught:
        build_backends(quick(tmp_path, dispatcher_backends=("databse", "file")), sqlite_stores)

    assert caught.value.mistakes == [
        f"DISPATCHER_BACKENDS: unknown backend 'databse'; there are: {', '.join(BACKENDS)}",
        "FILE_EVENT_LOG: the backend `file` needs the path of a file to write to",
    ]


@pytest.mark.slow
async def test_events_reach_database_and_file_and_leave_the_log(tmp_path: Path, stores: Stores) -> None:
    path = tmp_path / "out" / "events.jsonl"
    events = [make_event(number) for number in range(30)]
    log = await SqliteLog.open(tmp_path / "bus.db")
    stop = asyncio.Event()
    await feed(log, events[:10])

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(run(quick(tmp_path, file_event_log=str(path)), log, stores, stop))
        await feed(log, events[10:])
        await eventually_async(lambda: is_empty(log))
        stop.set()

    stats = await log.stats()
    assert [(group.name, group.delivered) for group in stats.groups] == [("database", 30), ("file", 30)]
    lines = [json.loads(line)["event_id"] for line in path.read_text().splitlines()]
    assert sorted(lines) == sorted(event.event_id for event in events)
    for event in events:
        assert await requests.get(stores.records, event.event_id)
    await log.close()


async def is_empty(log: SqliteLog) -> bool:
    """Trimmed: everything appended, delivered everywhere and deleted from the log."""
    stats = await log.stats()
    return stats.appended == 30 and stats.entries == 0


async def test_the_state_of_each_backend_can_be_asked_for(
    tmp_path: Path, sqlite_stores: Stores, log: SqliteLog
) -> None:
    (tmp_path / "plain").write_text("a file in the way")
    settings = quick(tmp_path, file_event_log=str(tmp_path / "plain" / "events.jsonl"))
    dispatcher, stop = Dispatcher(settings, log, sqlite_stores), asyncio.Event()
    assert {state.state for state in dispatcher.states()} == {"starting"}

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(dispatcher.run(stop))
        await feed(log, [make_event()])
        await eventually_async(lambda: asyncio.sleep(0, any(state.error for state in dispatcher.states())))
        states = {state.name: state for state in dispatcher.states()}
        stop.set()

    assert "make it writable" in states["file"].error
    assert (states["database"].state, states["file"].state) == ("delivering", "waiting")


async def test_bodies_older_than_the_retention_go_and_the_rows_stay(stores: Stores) -> None:
    now_ms = 2_000 * DAY_MS
    old, young = make_event(1, accepted_at_ms=now_ms - 31 * DAY_MS), make_event(2, accepted_at_ms=now_ms - DAY_MS)
    backend = BACKENDS["database"](Settings(), stores)
    await backend.deliver([delivered(old), delivered(young)])

    assert await delete_old_bodies(stores.records, HeldClock(now_ms), 30) == 2

    assert await requests.bodies(stores.records, old.event_id) == []
    assert len(await requests.bodies(stores.records, young.event_id)) == 2
    assert await requests.get(stores.records, old.event_id)


async def test_a_running_dispatcher_deletes_changes_that_every_worker_has_heard_of(
    tmp_path: Path, log: SqliteLog, sqlite_stores: Stores
) -> None:
    main, now_ms = sqlite_stores.main, SystemClock().now_ms()
    await changes.append(main, "token", "old", now_ms - 8 * DAY_MS)
    await changes.append(main, "token", "young", now_ms - DAY_MS)

    async def only_the_young() -> bool:
        return [change.key for change in await changes.after(main, 0, 10)] == ["young"]

    stop = asyncio.Event()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(Dispatcher(quick(tmp_path), log, sqlite_stores).run(stop))
        await eventually_async(only_the_young)
        stop.set()


async def test_a_group_without_a_backend_is_told_of(log: SqliteLog, caplog: pytest.LogCaptureFixture) -> None:
    await feed(log, [make_event()])

    with caplog.at_level(logging.WARNING):
        assert await tell_of_forgotten_groups(log, ["database"]) == ["scripted"]

    assert "not configured any more" in caplog.text
    assert (await group_of(log)).lag == 1


async def test_housekeeping_goes_on_after_a_failure_and_tells_of_it_once(caplog: pytest.LogCaptureFixture) -> None:
    stop, calls = asyncio.Event(), 0

    async def fails_at_first() -> None:
        nonlocal calls
        calls += 1
        if calls < 4:
            raise StoreUnavailable("away")
        stop.set()

    async with asyncio.timeout(60):
        await every(0.001, fails_at_first, stop)

    assert calls == 4
    assert len(caplog.records) == 1


async def test_old_minutes_go_and_what_they_add_up_to_stays(stores: Stores) -> None:
    now_ms = 1_900_000_000_000
    old, young = (make_event(accepted_at_ms=now_ms - days * DAY_MS) for days in (41, 39))
    await build_backends(Settings(), stores)[0].deliver([delivered(old), delivered(young)])

    assert await delete_old_minutes(stores.records, HeldClock(now_ms), 40) == 1

    window: dict[str, Any] = {"since_ms": 0, "until_ms": now_ms, "limit": 10}
    minutes = await rollups.usage(stores.records, "project", "minute", **window)
    hours = await rollups.usage(stores.records, "project", "hour", **window)
    assert (len(minutes), len(hours)) == (1, 2)

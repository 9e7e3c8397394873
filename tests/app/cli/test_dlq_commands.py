"""`llm-proxy dlq` and `ledger` against a real server's keeper on the embedded log, and against Redis itself."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.ports import any_free
from bus.bus import BusStats, Entry, GroupStats
from bus.codec import encode
from bus.ledger import ledger_of
from bus.redis_link import RedisLink
from bus.redis_streams import RedisStreams
from bus.relay import Relay
from bus.sqlite_log import SqliteLog
from config.ids import id_bytes
from config.secret import Secret
from tests.support.llm_proxy import run, run_json, serving
from tests.support.spools import finished, open_spool
from tests.support.waiting import eventually

EVENTS = [finished(body=b"what was said") for _ in range(4)]
IDS = [event.event_id for event in EVENTS]


async def bury_all(data: Path) -> None:
    """Four events, recorded and relayed, that the backends `file` and `gone` would not take."""
    root = data / "spool"
    spool = open_spool(root)
    for event in EVENTS:
        await spool.finish(event)
    spool.close()
    log = await SqliteLog.open(data / "bus.db")
    await log.ensure_groups(["file", "gone"])
    relay = Relay(root, log, retain="replicated", poll_ms=5)
    assert await relay.drain(10) == 0
    relay.close()
    for group in ("file", "gone"):
        for delivery in await log.read(group, "c", max_entries=10, max_bytes=1 << 20, block_ms=0):
            assert await log.dead_letter(group, "c", delivery.key, reason="permanent", detail="400: no")
    await log.close()


@pytest.fixture
def environ(folder: Path) -> dict[str, str]:
    return {
        "LISTEN_ADDR": str(any_free("127.0.0.1")),
        "MANAGEMENT_TOKEN": "management-token-of-the-tests",
        "FILE_EVENT_LOG": str(folder / "events.jsonl"),
        "DATA_DIR": str(folder / "data"),
    }


@pytest.fixture
def server(folder: Path, environ: dict[str, str]) -> Iterator[dict[str, str]]:
    """A server whose log has dead letters; the environment to ask it in."""
    (folder / "data").mkdir()
    asyncio.run(bury_all(folder / "data"))
    with serving(folder, "--no-admin", **environ) as started:
        eventually(lambda: run(folder, "ledger", **environ).returncode == 0, every_s=0.3)
        yield environ
        assert "Traceback" not in started.err


def account(folder: Path, backend: str, environ: dict[str, str]) -> dict[str, Any]:
    found: list[dict[str, Any]] = run_json(folder, "ledger", **environ)["accounts"]
    return next(row for row in found if row["backend"] == backend)


@pytest.mark.slow
def test_letters_are_read_given_back_purged_and_forgotten_and_the_ledger_closes(
    folder: Path, server: dict[str, str]
) -> None:
    listed = run_json(folder, "dlq", "list", "--backend", "file", "--limit", "3", **server)
    older = run_json(folder, "dlq", "list", "--backend", "file", "--before", listed["next"], **server)
    letters = listed["letters"] + older["letters"]
    assert sorted(letter["event_id"] for letter in letters) == sorted(IDS)
    assert {(letter["reason"], letter["detail"], letter["attempts"]) for letter in letters} == {
        ("permanent", "400: no", 1)
    }

    shown = run(folder, "dlq", "show", letters[0]["id"], "--backend", "file", **server)
    whole = run_json(folder, "dlq", "show", letters[0]["id"], "--backend", "file", "--bodies", **server)
    assert letters[0]["event_id"] in shown.stdout
    assert "what was said" not in shown.stdout
    assert whole["event"]["request_body"]["text"] == "what was said"

    one = run(folder, "dlq", "replay", letters[0]["id"], "--backend", "file", **server)
    none = run(folder, "dlq", "replay", "--all", "--reason", "crash_loop", "--backend", "file", **server)
    rest = run(folder, "dlq", "replay", "--all", "--backend", "file", **server)
    assert [done.stdout for done in (one, none, rest)] == [f"{n} letters of file replayed\n" for n in (1, 0, 3)]
    written = folder / "events.jsonl"
    eventually(lambda: len(written.read_text().splitlines()) == 4)
    assert sorted(json.loads(line)["event_id"] for line in written.read_text().splitlines()) == sorted(IDS)
    eventually(lambda: account(folder, "file", server)["delivered"] == 4, every_s=0.2)

    refused = run(folder, "dlq", "purge", "--all", "--backend", "gone", stdin="5\n", **server)
    assert (refused.returncode, account(folder, "gone", server)["dead"]) == (1, 4)
    assert run(folder, "dlq", "purge", "--all", "--backend", "gone", stdin="4\n", **server).returncode == 0
    gone = account(folder, "gone", server)
    assert (gone["dead"], gone["purged"], gone["missing"]) == (0, 4, 0)

    kept = run(folder, "dlq", "forget", "--backend", "file", "--yes", **server)
    assert (kept.returncode, "is configured" in kept.stderr) == (1, True)
    assert run(folder, "dlq", "forget", "--backend", "gone", "--yes", **server).returncode == 0
    assert "gone" not in run(folder, "ledger", **server).stdout
    assert run_json(folder, "ledger", **server)["closes"]


@pytest.mark.parametrize("command", [["ledger"], ["dlq", "list", "--backend", "file"]])
def test_without_a_keeper_one_is_told_what_to_start(folder: Path, environ: dict[str, str], command: list[str]) -> None:
    done = run(folder, *command, **environ)

    assert done.returncode == 1
    assert "llm-proxy server" in done.stderr


@pytest.mark.parametrize("command", ["replay", "purge"])
@pytest.mark.parametrize("chosen", [[], ["1-1", "--all"], ["1-1", "--reason", "permanent"]])
def test_it_must_be_clear_which_letters_are_meant(folder: Path, command: str, chosen: list[str]) -> None:
    assert run(folder, "dlq", command, *chosen, "--backend", "file").returncode == 2


def test_on_redis_no_keeper_is_needed(folder: Path, environ: dict[str, str], redis_url: str) -> None:
    async def bury() -> None:
        bus = RedisStreams(RedisLink(Secret(redis_url)), "llm-proxy-events", min_idle_ms=1000)
        await bus.ensure_groups(["file", "database"])
        await bus.append(b"spool", 1, 0, [Entry(id_bytes(event.event_id), encode(event)) for event in EVENTS])
        for delivery in await bus.read("file", "c", max_entries=10, max_bytes=1 << 20, block_ms=0):
            await bus.dead_letter("file", "c", delivery.key, reason="permanent", detail="no")
        await bus.close()

    asyncio.run(bury())
    environ |= {"REDIS_URL": redis_url, "REDIS_STREAM_KEY": "llm-proxy-events"}

    listed = run_json(folder, "dlq", "list", "--backend", "file", **environ)["letters"]
    purged = run_json(folder, "dlq", "purge", listed[0]["id"], "--yes", "--backend", "file", **environ)
    replayed = run_json(folder, "dlq", "replay", "--all", "--backend", "file", **environ)

    assert sorted(letter["event_id"] for letter in listed) == sorted(IDS)
    assert (purged["purged"], replayed["replayed"]) == (1, 3)
    file = account(folder, "file", environ)
    assert (file["recorded"], file["dead"], file["pending"], file["purged"], file["missing"]) == (4, 0, 3, 1, 0)
    assert account(folder, "database", environ)["waiting"] == 4


def relay(recorded: int, lost: int = 0) -> dict[str, object]:
    return {"recorded": recorded, "lost": lost, "unrecoverable": 0, "dropped": {"full": 2}}


@pytest.mark.parametrize(
    ("before", "after", "missing"),
    [
        (relay(10), relay(10), 0),
        (relay(11, lost=1), relay(11, lost=1), 0),
        (relay(8), relay(12), 0),
        (relay(13), relay(13), 3),
        (relay(8), relay(9), -1),
        ({}, {}, 0),
    ],
    ids=["idle", "holes", "events flow", "the bus forgot", "of nobody", "no relay"],
)
def test_the_relay_and_the_bus_must_agree(before: dict[str, object], after: dict[str, object], missing: int) -> None:
    stats = BusStats(10, 100, 10, (GroupStats("file", 2, 3, 0, 1, 4),))

    found = ledger_of(stats, before, after, is_shared=False)

    assert found.relay_missing == missing
    assert found.closes == (missing == 0)
    assert found.accounts[0].missing == 0


def test_an_event_that_a_backend_cannot_account_for_is_missing() -> None:
    stats = BusStats(10, 100, 10, (GroupStats("file", 2, 3, 0, 1, 3),))

    found = ledger_of(stats, relay(10), relay(10), is_shared=False)

    assert (found.accounts[0].missing, found.accounts[0].recorded, found.closes) == (1, 12, False)

"""`llm-proxy replay` against a real database and a receiver of webhooks."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.cli.moments import moment_ms, per_second, told
from config.settings import Settings
from dispatcher.backends.database import DatabaseBackend
from sql.stores import open_stores
from tests.dispatcher.scripted import delivered, make_event
from tests.support.http_sink import says
from tests.support.llm_proxy import run, run_json
from tests.support.upstream import Upstream
from tests.support.webhook_server import SECRET, WebhookReceiver

NOW_MS = int(time.time() * 1000)
HOUR_MS = 3_600_000
RECENT = [make_event(number, accepted_at_ms=NOW_MS - 1000 * number) for number in range(1, 31)]
OLD = [make_event(number, accepted_at_ms=NOW_MS - 31 * 24 * HOUR_MS, project_id="old") for number in range(5)]


@pytest.fixture
def receiver(upstream: Upstream) -> WebhookReceiver:
    return WebhookReceiver(upstream, "/hook")


@pytest.fixture
def environ(folder: Path, receiver: WebhookReceiver) -> dict[str, str]:
    """Of a database in which exchanges are recorded."""
    environ = {"DATA_DIR": str(folder), "WEBHOOK_URL": receiver.url, "WEBHOOK_SECRET": SECRET, "MANAGEMENT_TOKEN": "x"}
    assert run(folder, "migrate", "up", **environ).returncode == 0

    async def record() -> None:
        stores = open_stores(Settings(data_dir=str(folder)))
        await DatabaseBackend(stores.records).deliver([delivered(event) for event in RECENT + OLD])
        await stores.close()

    asyncio.run(record())
    return environ


@pytest.mark.slow
def test_what_was_recorded_since_then_arrives_once_more_under_its_own_ids(
    folder: Path, environ: dict[str, str], receiver: WebhookReceiver
) -> None:
    counted = run_json(folder, "replay", "--since", "60d", "--backend", "webhook", "--dry-run", **environ)
    assert (counted["found"], counted["skipped"], "sent" in counted) == (35, 5, False)
    assert receiver.done == {}

    done = run(folder, "replay", "--since", "2h", "--until", told(NOW_MS - 10_500), "--backend", "webhook", **environ)
    assert done.returncode == 0, done.stderr
    assert set(receiver.done) == {event.event_id for event in RECENT[10:]}

    rest = run_json(folder, "replay", "--since", "60d", "--backend", "webhook", "--without-bodies", **environ)
    assert (rest["found"], rest["skipped"], rest["sent"], rest["failed"], rest["left"]) == (35, 0, 35, 0, 0)
    assert len(receiver.done) == 35
    assert receiver.repeats == 20, "the same ids again"

    one = run_json(folder, "replay", "--since", "60d", "--project", "old", "--backend", "webhook", **environ)
    assert (one["found"], one["skipped"], one["sent"]) == (5, 5, 0)


@pytest.mark.slow
def test_what_the_backend_refuses_is_told_and_fails_the_command(
    folder: Path, environ: dict[str, str], receiver: WebhookReceiver
) -> None:
    bad = RECENT[7].event_id
    receiver.refused = {bad}
    receiver.next(says(503), says(429))

    done = run(
        folder, "replay", "--since", "2h", "--backend", "webhook", "--json",
        **environ, LLM_PROXY_DISPATCHER_BACKOFF_MS="5",
    )  # fmt: skip
    told_of = json.loads(done.stdout)

    assert done.returncode == 1
    assert (told_of["sent"], told_of["failed"], told_of["left"]) == (29, 1, 0)
    assert [failure["event_id"] for failure in told_of["failures"]] == [bad]
    assert "422" in told_of["failures"][0]["reason"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--since", "2x", "--backend", "webhook"], "'2x' is no time"),
        (["--since", "2h", "--backend", "webhook", "--rate", "0/s"], "'0/s' is no rate"),
        (["--since", "1h", "--until", "2h", "--backend", "webhook"], "must lie before"),
        (["--since", "2h", "--backend", "webhok"], "unknown backend 'webhok'"),
        (["--since", "2h", "--backend", "lunary", "--dry-run"], "LUNARY_API_KEY"),
        (["--since", "2h", "--backend", "database"], "what is read from"),
    ],
)
def test_what_cannot_be_meant_is_told_with_exit_code_2(
    folder: Path, environ: dict[str, str], options: list[str], line: str
) -> None:
    done = run(folder, "replay", *options, **environ)

    assert (done.returncode, line in done.stderr) == (2, True), done.stderr


def test_where_nothing_was_recorded_it_says_so_and_makes_nothing(folder: Path) -> None:
    done = run(folder, "replay", "--since", "2h", "--backend", "file", FILE_EVENT_LOG=str(folder / "x"))

    assert (done.returncode, "is DATA_DIR that of the server?" in done.stderr) == (1, True)
    assert list(folder.iterdir()) == []


def test_times_and_rates_are_read_as_people_write_them() -> None:
    at_ms = int(datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp() * 1000)

    assert moment_ms("now", at_ms) == at_ms
    assert moment_ms("90m", at_ms) == at_ms - 90 * 60_000
    assert {moment_ms(text, 0) for text in ("2026-11-21T10:00", "2026-11-21T10:00:00Z", "2026-11-21T11:00+01:00")} == {
        at_ms
    }
    assert moment_ms(told(at_ms), 0) == at_ms
    assert [per_second(text) for text in ("500", "500/s", "30/m")] == [500, 500, 0.5]

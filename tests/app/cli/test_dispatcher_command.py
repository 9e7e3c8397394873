"""`llm-proxy dispatcher` as processes on Redis and Valkey: what it tells while it works, and who goes on after it."""

import signal
import threading
import time
from pathlib import Path

import httpx
import pytest

from app.cli.dispatcher_metrics import snapshot_of
from app.exposition import as_prometheus
from bus.bus import BusStats, GroupStats
from tests.support.dispatchers import answering_after, dispatching, environ, fed
from tests.support.http_sink import says
from tests.support.llm_proxy import Demo, run_process
from tests.support.redis_server import RedisServer
from tests.support.upstream import Upstream
from tests.support.waiting import eventually
from tests.support.webhook_server import WebhookReceiver


@pytest.fixture
def receiver(upstream: Upstream) -> WebhookReceiver:
    return WebhookReceiver(upstream, "/hook")


@pytest.mark.slow
def test_it_tells_of_its_lag_its_breaker_and_its_work(folder: Path, redis_url: str, receiver: WebhookReceiver) -> None:
    receiver.next(*[says(503)] * 10_000)
    sent = fed(redis_url, 50)

    with dispatching(folder, **environ(redis_url, receiver)) as dispatcher:
        eventually(lambda: dispatcher.figures()["breaker_open"] == 1)
        eventually(lambda: dispatcher.figures()["lag_seconds"] > 1)
        away = dispatcher.figures()
        assert dispatcher.get("/live").text == "alive"
        assert dispatcher.get("/ready").text == "ready, degraded: webhook"
        receiver.faults.clear()
        eventually(lambda: dispatcher.figures()["delivered_total"] == 50)
        eventually(lambda: dispatcher.figures()["pending_events"] == 0)
        well, told = dispatcher.figures(), dispatcher.get("/metrics").json()
        dispatcher.process.send_signal(signal.SIGTERM)
        assert dispatcher.process.wait(60) == 0

    assert away["lag_events"] + away["pending_events"] == 50
    assert (away["delivered_total"], away["dead_letters"], away["retried_total"] >= 30) == (0, 0, True)
    assert (well["lag_events"], well["lag_seconds"], well["breaker_open"]) == (0, 0, 0)
    assert (well["breaker_opened_total"], well["in_flight_bytes"], well["dead_total"]) == (1, 0, 0)
    assert (told["backends"][0]["name"], told["backends"][0]["breaker"]) == ("webhook", "closed")
    assert sorted(receiver.done) == sorted(sent)


@pytest.mark.slow
def test_without_redis_it_is_not_ready_and_alive(folder: Path, own_redis: RedisServer, upstream: Upstream) -> None:
    receiver = WebhookReceiver(upstream, "/hook")
    with dispatching(folder, **environ(own_redis.url, receiver)) as dispatcher:
        own_redis.kill()
        eventually(lambda: dispatcher.get("/ready").text == "bus: away")
        assert dispatcher.get("/live").status_code == 200
        text = dispatcher.get("/metrics/prometheus").text
        own_redis.start()
        eventually(dispatcher.is_ready)

    assert "llm_proxy_dispatcher_bus_away 1" in text
    assert "lag_events{" not in text, "nothing is told that may be old"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["told to stop", "killed"])
def test_what_one_held_another_delivers(
    folder: Path, own_redis: RedisServer, receiver: WebhookReceiver, number: signal.Signals
) -> None:
    """One is about to halve a batch with a bad event in it when it ends; its lease is a second."""
    may_answer = threading.Event()
    receiver.next(answering_after(may_answer))
    environment = environ(own_redis.url, receiver)
    with dispatching(folder, **environment) as one, dispatching(folder, **environment) as other:
        sent = fed(own_redis.url, 10)
        receiver.refused = {sent[4]}
        eventually(lambda: one.live("in_flight") + other.live("in_flight") == 10)
        holder, heir = (one, other) if one.live("in_flight") else (other, one)
        holder.process.send_signal(number)
        ended_at = time.monotonic()
        may_answer.set()
        eventually(lambda: len(receiver.done) == 9)
        took_s = time.monotonic() - ended_at
        eventually(lambda: heir.live("buried") == 1)
        assert heir.live("delivered") == 9
        code = holder.process.wait(60)

    print(f"taken over after {took_s:.2f} s")
    assert code == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    assert sorted(receiver.done) == sorted(set(sent) - {sent[4]})
    assert receiver.repeats == 0


def test_the_terms_of_the_ledger_add_up_in_the_scrape() -> None:
    group = GroupStats("webhook", pending=2, lag=3, oldest_ms=0, dead=4, delivered=5, purged=6, earlier=1)

    gauges = snapshot_of([], BusStats(1, 1, 21, (group,))).gauges

    told = {key.removeprefix("llm_proxy_dispatcher_").partition("{")[0]: value for key, value in gauges.items()}
    terms = ("delivered_events", "dead_letters", "pending_events", "lag_events", "parked_events", "dropped_events")
    assert told["recorded_events"] == sum(told[term] for term in terms) == 21
    assert (told["delivered_events"], told["dropped_events"]) == (5, 7)


def test_no_label_can_break_out_of_its_quotes() -> None:
    stats = BusStats(1, 1, 1, (GroupStats('we"b\n\\k', 2, 3, 4500, 1, 0),))

    text = as_prometheus(snapshot_of([], stats), 1.0, always=())

    assert 'llm_proxy_dispatcher_lag_seconds{backend="we\\"b\\n\\\\k"} 4.5' in text.splitlines()
    assert "untyped" not in text


def test_a_server_tells_its_dispatchers_numbers_in_the_one_scrape(running_demo: Demo) -> None:
    def scrape() -> str:
        return httpx.get(f"{running_demo.proxy}/metrics/prometheus", trust_env=False).text

    eventually(lambda: 'llm_proxy_dispatcher_lag_events{backend="database"} 0' in scrape())
    assert 'llm_proxy_dispatcher_breaker_open{backend="database"} 0' in scrape()


def test_an_address_that_is_taken_is_told(folder: Path, upstream: Upstream) -> None:
    taken = upstream.url.removeprefix("http://")

    done = run_process(folder, "dispatcher", "--listen", taken, REDIS_URL="redis://127.0.0.1:1/0")

    assert (done.returncode, "DISPATCHER_LISTEN_ADDR (or --listen)" in done.stderr) == (1, True), done.stderr

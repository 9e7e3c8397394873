"""Dispatchers as processes, parking for a webhook that is away: killed, rolled, asked; the last one delivers."""

import json
import signal
from pathlib import Path

import pytest

from tests.support.dispatchers import Dispatcher, dispatching, environ, fed
from tests.support.http_sink import says
from tests.support.llm_proxy import run
from tests.support.redis_server import RedisServer
from tests.support.upstream import Upstream
from tests.support.waiting import eventually
from tests.support.webhook_server import WebhookReceiver

PARKS = {
    "LLM_PROXY_DISPATCHER_PARK_AFTER_MS": "50",
    "LLM_PROXY_DISPATCHER_MIN_IDLE_MS": "500",
    "LLM_PROXY_DISPATCHER_BREAKER_FAILURES": "2",
}


def parked(folder: Path, **environment: str) -> int:
    """As the ledger tells it, which has to close."""
    told = json.loads(run(folder, "ledger", "--json", **environment).stdout)
    (account,) = told["accounts"]
    assert told["closes"], account
    assert (account["recorded"], account["missing"]) == (sum(v for k, v in account.items() if k in TERMS), 0)
    return int(account["parked"])


TERMS = {"delivered", "dead", "pending", "waiting", "parked", "purged", "earlier", "lost", "dropped"}


def is_parking(dispatcher: Dispatcher, at_least: int) -> bool:
    return dispatcher.live("parked") >= at_least


@pytest.mark.slow
def test_a_dispatcher_killed_while_it_parks_leaves_its_lot_to_the_next(
    folder: Path, own_redis: RedisServer, upstream: Upstream
) -> None:
    receiver = WebhookReceiver(upstream, "/hook")
    receiver.next(*[says(503)] * 100_000)
    environment = {**environ(own_redis.url, receiver), **PARKS}
    sent = fed(own_redis.url, 100)

    with dispatching(folder, **environment) as first, dispatching(folder, **environment) as second:
        while not (is_parking(first, 1) and is_parking(second, 1)):
            sent += fed(own_redis.url, 20)
        sent += fed(own_redis.url, 300)
        first.process.send_signal(signal.SIGKILL)  # somewhere in the middle of it
        first.process.wait(60)
        eventually(lambda: parked(folder, **environment) + 50 >= len(sent))
        second.process.send_signal(signal.SIGTERM)
        assert second.process.wait(60) == 0
        kept = parked(folder, **environment)
        with dispatching(folder, **environment) as third:
            sent += fed(own_redis.url, 100)
            eventually(lambda: is_parking(third, kept // 2))
            eventually(lambda: third.figures()["lot_events"] >= kept // 2)
            told = third.figures()
            receiver.faults.clear()
            eventually(lambda: set(receiver.done) == set(sent))
            eventually(lambda: third.get("/metrics").json()["backends"][0]["lot"] == "off")
            assert parked(folder, **environment) == 0

    assert kept + 50 >= len(sent) - 100
    assert (told["lot_full"], told["parked_events"] >= kept // 2) == (0, True)
    assert receiver.repeats <= 10, "what was on disk and not yet off the bus when it was killed: a batch at most"
    assert list((folder / "data" / "parking" / "webhook").iterdir()) == []

"""Lunary: start and end together, each result judged, and a second start no error."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.sqlite_log import SqliteLog
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends.base import Ok, Permanent, Retry, Unknown
from dispatcher.backends.lunary import LunaryBackend, build
from tests.dispatcher.backends.services import conversation, delivered_by
from tests.dispatcher.scripted import delivered, make_event
from tests.support.http_sink import cuts, says, takes_and_cuts
from tests.support.lunary_server import KEY, Lunary


def to(lunary: Lunary) -> LunaryBackend:
    return build(Settings(lunary_endpoint=lunary.url, lunary_api_key=Secret(KEY)))


@pytest.fixture
async def backend(lunary: Lunary) -> AsyncIterator[LunaryBackend]:
    opened = to(lunary)
    yield opened
    await opened.close()


async def run_of(lunary: Lunary, backend: LunaryBackend, **changes: object) -> dict[str, Any]:
    event = conversation(**changes)
    assert await backend.deliver([delivered(event)]) == [Ok()]
    return lunary.runs[event.event_id]


async def test_a_conversation_is_a_finished_run(lunary: Lunary, backend: LunaryBackend) -> None:
    run = await run_of(lunary, backend)

    assert (run["type"], run["event"], run["name"], run["userId"]) == ("llm", "end", "gpt-4o", "grete")
    assert run["input"] == [{"role": "user", "content": "How are you?"}]
    assert run["output"] == {"role": "assistant", "content": "Fine, thanks."}
    assert run["tokensUsage"] == {"prompt": 14, "completion": 8, "promptCached": 4}
    assert (run["started"], run["ended"]) == ("2026-11-18T11:06:40.250Z", "2026-11-18T11:06:42.150Z")
    assert run["params"] == {"stream": True, "temperature": 0.5}
    assert run["metadata"]["cost_microusd"] == 1500
    assert all(isinstance(value, str | int | bool) for value in run["metadata"].values())


async def test_an_exchange_that_failed_is_a_run_that_failed(lunary: Lunary, backend: LunaryBackend) -> None:
    run = await run_of(lunary, backend, status=429, code="rate_limit_exceeded", usage=None)

    assert (run["event"], run["error"]) == ("error", {"message": "rate_limit_exceeded"})
    assert "tokensUsage" not in run
    assert "output" not in run


async def test_an_exchange_without_any_time_still_ends_after_its_start(lunary: Lunary, backend: LunaryBackend) -> None:
    run = await run_of(lunary, backend, last_byte_us=None, first_byte_us=None)

    assert run["started"] == run["ended"]


async def test_other_exchanges_are_runs_of_other_types(lunary: Lunary, backend: LunaryBackend) -> None:
    listing = await run_of(lunary, backend, method="GET", path="/v1/models", model="")
    embedding = await run_of(lunary, backend, path="/v1/embeddings")

    assert (listing["type"], listing["name"]) == ("chain", "/v1/models")
    assert embedding["type"] == "embed"


async def test_a_batch_is_one_call(lunary: Lunary, backend: LunaryBackend) -> None:
    events = [conversation(number) for number in range(40)]

    assert await backend.deliver([delivered(event) for event in events]) == [Ok()] * 40

    assert len(lunary.received) == 1
    assert set(lunary.runs) == {event.event_id for event in events}
    assert all("ended" in run for run in lunary.runs.values())


async def test_a_run_that_is_there_already_is_done(lunary: Lunary, backend: LunaryBackend) -> None:
    old, new = conversation(1), conversation(2)
    lunary.next(takes_and_cuts)

    (lost,) = await backend.deliver([delivered(old)])
    again = await backend.deliver([delivered(old, deliveries=2), delivered(new)])

    assert isinstance(lost, Unknown)
    assert again == [Ok()] * 2
    assert (len(lunary.runs), lunary.repeats) == (2, 1)


async def test_a_run_that_fails_alone_is_to_blame_itself(lunary: Lunary, backend: LunaryBackend) -> None:
    events = [conversation(number) for number in range(10)]
    lunary.refused = {events[4].event_id}

    outcomes = await backend.deliver([delivered(event) for event in events])

    told = "Lunary refused it: value too long for type character varying(100)"
    assert outcomes[4] == Permanent(told, is_sure=True)
    assert outcomes.count(Ok()) == 9
    assert len(lunary.received) == 1


async def test_when_all_fail_none_is_to_blame(lunary: Lunary, backend: LunaryBackend) -> None:
    lunary.is_broken = True

    outcomes = await backend.deliver([delivered(conversation(number)) for number in range(5)])

    assert outcomes == [Retry("Lunary refused it: connect ECONNREFUSED")] * 5


@pytest.mark.parametrize("body", [b"", b"ok", b'{"error":"x"}', b'{"results":"no"}', b'{"results":[]}', b"\xff"])
async def test_a_yes_without_results_confirms_nothing(lunary: Lunary, backend: LunaryBackend, body: bytes) -> None:
    lunary.next(says(200, body))

    assert isinstance((await backend.deliver([delivered(conversation())]))[0], Unknown)


async def test_half_a_result_confirms_nothing(lunary: Lunary, backend: LunaryBackend) -> None:
    event = conversation()
    lunary.next(says(200, b'{"results":[{"id":"%s","success":true}]}' % event.event_id.encode()))

    assert isinstance((await backend.deliver([delivered(event)]))[0], Unknown)


async def test_a_wrong_key_waits_for_a_person_and_is_not_told(lunary: Lunary, caplog: pytest.LogCaptureFixture) -> None:
    backend = build(Settings(lunary_endpoint=lunary.url, lunary_api_key=Secret("wrong-key-hidden")))
    with caplog.at_level(logging.DEBUG):
        (outcome,) = await backend.deliver([delivered(make_event())])

    assert isinstance(outcome, Retry)
    assert outcome.reason.endswith("check LUNARY_ENDPOINT and LUNARY_API_KEY")
    assert "hidden" not in caplog.text + outcome.reason
    await backend.close()


async def test_through_the_fleet_each_event_is_one_run(lunary: Lunary, log: SqliteLog) -> None:
    events = [conversation(number) for number in range(120)]
    lunary.refused = {events[7].event_id}
    lunary.next(says(429, b"", (b"retry-after", b"0")), takes_and_cuts, cuts)

    assert await delivered_by(to(lunary), log, events) == (119, 1)
    assert set(lunary.runs) == {event.event_id for event in events} - lunary.refused
    assert all("ended" in run for run in lunary.runs.values())

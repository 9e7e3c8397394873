"""Helicone: a record per call, usage where it looks for it, and a 200 that is no success."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.event import Body
from bus.sqlite_log import SqliteLog
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends.base import Ok, Permanent, Retry, Unknown
from dispatcher.backends.helicone import HeliconeBackend, build
from tests.dispatcher.backends.services import conversation, delivered_by
from tests.dispatcher.scripted import delivered, make_event
from tests.support.helicone_server import KEY, Helicone
from tests.support.http_sink import says, takes_and_cuts


def to(helicone: Helicone, **changes: object) -> HeliconeBackend:
    values = {"helicone_endpoint": helicone.url, "helicone_api_key": Secret(KEY), **changes}
    return build(Settings(**values))  # type: ignore[arg-type]


@pytest.fixture
async def backend(helicone: Helicone) -> AsyncIterator[HeliconeBackend]:
    opened = to(helicone)
    yield opened
    await opened.close()


async def logged(helicone: Helicone, backend: HeliconeBackend, **changes: object) -> dict[str, Any]:
    event = conversation(**changes)
    assert await backend.deliver([delivered(event)]) == [Ok()]
    return helicone.records[event.event_id]


async def test_a_record_has_both_sides_and_its_own_times(helicone: Helicone, backend: HeliconeBackend) -> None:
    record = await logged(helicone, backend)

    assert record["providerRequest"]["json"]["messages"] == [{"role": "user", "content": "How are you?"}]
    reply = record["providerResponse"]["json"]
    assert reply["choices"][0]["message"]["content"] == "Fine, thanks."
    assert record["providerResponse"]["status"] == 200
    assert record["timing"] == {
        "startTime": {"seconds": 1_795_000_000, "milliseconds": 250},
        "endTime": {"seconds": 1_795_000_002, "milliseconds": 150},
        "timeToFirstToken": 400,
    }
    meta = record["providerRequest"]["meta"]
    assert (meta["Helicone-User-Id"], meta["Helicone-Property-Project"]) == ("grete", "project-1")


async def test_usage_is_the_events_when_the_reply_has_none(helicone: Helicone, backend: HeliconeBackend) -> None:
    record = await logged(helicone, backend)
    own = await logged(
        helicone, backend, response_body=Body(b'{"id":"x","usage":{"prompt_tokens":1}}', "application/json")
    )

    usage = record["providerResponse"]["json"]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (14, 8, 22)
    assert own["providerResponse"]["json"]["usage"] == {"prompt_tokens": 1}


async def test_without_bodies_model_and_usage_are_still_there(helicone: Helicone, backend: HeliconeBackend) -> None:
    record = await logged(helicone, backend, request_body=None, response_body=None)
    listing = await logged(helicone, backend, method="GET", path="/v1/models", model="", request_body=None)

    assert record["providerRequest"]["json"] == {"model": "gpt-4o"}
    assert record["providerResponse"]["json"]["usage"]["total_tokens"] == 22
    assert listing["providerRequest"]["json"] == {"model": "/v1/models"}


async def test_what_no_header_can_carry_does_not_refuse_the_record(
    helicone: Helicone, backend: HeliconeBackend
) -> None:
    record = await logged(helicone, backend, end_user="Jürgen\r\nX: 1", path="/v1/ünicode")

    assert record["providerRequest"]["meta"]["Helicone-User-Id"] == "J?rgen??X: 1"


async def test_a_yes_with_an_error_in_it_is_no_yes(helicone: Helicone, backend: HeliconeBackend) -> None:
    helicone.fails = True

    (outcome,) = await backend.deliver([delivered(make_event())])

    assert outcome == Retry("Helicone did not log it: failed to insert: connection refused")


@pytest.mark.parametrize("body", [b"ok", b"", b'{"error":null}', b'{"data":1}'])
async def test_a_yes_without_error_is_one(helicone: Helicone, backend: HeliconeBackend, body: bytes) -> None:
    helicone.next(says(200, body))

    assert await backend.deliver([delivered(make_event())]) == [Ok()]


async def test_a_web_page_is_no_yes(helicone: Helicone, backend: HeliconeBackend) -> None:
    helicone.next(says(200, b"<html>Sign in</html>"))

    assert isinstance((await backend.deliver([delivered(make_event())]))[0], Retry)


async def test_a_second_delivery_replaces_the_first(helicone: Helicone, backend: HeliconeBackend) -> None:
    event = conversation()
    helicone.next(takes_and_cuts)

    (lost,) = await backend.deliver([delivered(event)])
    (again,) = await backend.deliver([delivered(event, deliveries=2)])

    assert isinstance(lost, Unknown) and again == Ok()
    assert (helicone.calls, len(helicone.records)) == (2, 1)


async def test_what_helicone_can_never_take_is_buried_alone(helicone: Helicone, backend: HeliconeBackend) -> None:
    helicone.largest = 20_000
    large = make_event(1, response_body=Body(b"x" * 30_000, "text/plain"))

    outcomes = await backend.deliver([delivered(make_event(0)), delivered(large), delivered(make_event(2))])

    assert [outcome == Ok() for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1], Permanent) and "Payload too large" in outcomes[1].reason


@pytest.mark.slow
async def test_a_slow_helicone_makes_progress_and_keeps_what_it_took(helicone: Helicone) -> None:
    async def slow(received: object, wire: object) -> None:
        await asyncio.sleep(0.3)
        await Helicone.behave(helicone, received, wire)  # type: ignore[arg-type]

    helicone.behave = slow  # type: ignore[method-assign]
    backend = to(helicone, dispatcher_timeout_ms=2000)
    await backend.open()

    outcomes = await backend.deliver([delivered(make_event(number)) for number in range(100)])

    done = [outcome for outcome in outcomes if outcome == Ok()]
    assert 8 <= len(done) < 100
    assert Retry("not sent: the time of this delivery was used up by others", after_ms=0) in outcomes
    await backend.close()


async def test_no_more_connections_than_allowed(helicone: Helicone, backend: HeliconeBackend) -> None:
    await backend.deliver([delivered(make_event(number)) for number in range(64)])

    assert helicone.upstream.connections <= 8
    assert helicone.calls == 64


async def test_the_key_is_in_no_log_and_no_outcome(helicone: Helicone, caplog: pytest.LogCaptureFixture) -> None:
    backend = to(helicone)
    helicone.next(says(401, f"bad key {KEY}".encode()), says(400, KEY.encode()), says(500, KEY.encode()))

    with caplog.at_level(logging.DEBUG):
        outcomes = [(await backend.deliver([delivered(make_event())]))[0] for _ in range(3)]

    assert KEY not in repr(outcomes) + caplog.text
    assert isinstance(outcomes[0], Retry) and "check HELICONE_ENDPOINT and HELICONE_API_KEY" in outcomes[0].reason
    await backend.close()


async def test_through_the_fleet_each_event_is_one_record(helicone: Helicone, log: SqliteLog) -> None:
    helicone.next(says(503), takes_and_cuts, says(200, b'{"error":"try later"}'))
    events = [conversation(number) for number in range(50)]

    assert await delivered_by(to(helicone), log, events) == (50, 0)
    assert set(helicone.records) == {event.event_id for event in events}

"""The webhook: signed, keyed, judged as a whole or one by one, and harmless when it comes twice."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.event import Body
from bus.sqlite_log import SqliteLog
from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends.base import Ok, Permanent, Retry, Unknown
from dispatcher.backends.webhook import WebhookBackend, build, idempotency_key, signature
from dispatcher.fleet import Fleet
from tests.dispatcher.scripted import QUICK, delivered, feed, group_of, make_event
from tests.support.http_sink import says, takes_and_cuts
from tests.support.source_tree import ROOT
from tests.support.waiting import eventually_async
from tests.support.webhook_server import SECRET, WebhookReceiver

README = ROOT / "dispatcher" / "backends" / "README.md"


def settings(receiver: WebhookReceiver, **changes: object) -> Settings:
    values = {"webhook_url": Secret(receiver.url), "webhook_secret": Secret(SECRET), **changes}
    return Settings(**values)  # type: ignore[arg-type]


@pytest.fixture
async def backend(receiver: WebhookReceiver) -> AsyncIterator[WebhookBackend]:
    opened = build(settings(receiver))
    await opened.open()
    yield opened
    await opened.close()


async def test_a_batch_is_one_signed_call(receiver: WebhookReceiver, backend: WebhookBackend) -> None:
    events = [make_event(number) for number in range(5)]

    outcomes = await backend.deliver([delivered(event) for event in events])

    assert outcomes == [Ok()] * 5
    assert list(receiver.done) == [event.event_id for event in events]
    assert len(receiver.received) == 1
    first = receiver.done[events[0].event_id]
    assert (first["name"], first["metadata"]["status"], first["input"]) == ("gpt-4o", 200, {"model": "gpt-4o"})


async def test_a_wrong_secret_is_told_and_buries_nothing(receiver: WebhookReceiver) -> None:
    backend = build(settings(receiver, webhook_secret=Secret("another")))

    outcomes = await backend.deliver([delivered(make_event())])

    assert isinstance(outcomes[0], Retry)
    assert outcomes[0].reason.endswith("answered 401: the signature is wrong; check WEBHOOK_URL")
    await backend.close()


async def test_the_same_batch_has_the_same_key_and_tells_its_attempt(
    receiver: WebhookReceiver, backend: WebhookBackend
) -> None:
    events = [make_event(1), make_event(2)]
    receiver.next(takes_and_cuts)

    lost = await backend.deliver([delivered(event) for event in events])
    again = await backend.deliver([delivered(event, deliveries=2) for event in events])

    assert all(isinstance(outcome, Unknown) for outcome in lost)
    assert again == [Ok()] * 2
    assert receiver.keys[0] == receiver.keys[1]
    assert [r.all("x-delivery-attempt") for r in receiver.received] == [[b"1"], [b"2"]]
    assert receiver.repeats == 2, "the receiver knows them by their ids"


async def test_done_before_is_done(receiver: WebhookReceiver, backend: WebhookBackend) -> None:
    receiver.says_409 = True
    batch = [delivered(make_event(1)), delivered(make_event(2))]
    receiver.next(takes_and_cuts)
    await backend.deliver(batch)

    assert await backend.deliver(batch) == [Ok()] * 2
    assert (len(receiver.done), receiver.repeats) == (2, 0)


async def test_an_event_alone_has_its_id_as_key(receiver: WebhookReceiver) -> None:
    backend = build(settings(receiver, webhook_batch_size=1))
    events = [make_event(number) for number in range(10)]

    assert await backend.deliver([delivered(event) for event in events]) == [Ok()] * 10
    assert sorted(receiver.keys) == sorted(event.event_id for event in events)
    await backend.close()


def test_a_key_of_several_says_which_they_are() -> None:
    assert idempotency_key(["a"]) == "a"
    assert idempotency_key(["a", "b"]) != idempotency_key(["b", "a"])
    assert len(idempotency_key(["a", "b"])) == 64


async def test_batches_keep_to_the_bytes_that_are_set(receiver: WebhookReceiver) -> None:
    backend = build(settings(receiver, webhook_max_bytes=4096))
    events = [make_event(number, response_body=Body(b"x" * 1500, "text/plain")) for number in range(10)]
    events.append(make_event(11, response_body=Body(b"x" * 100_000, "text/plain")))

    assert await backend.deliver([delivered(event) for event in events]) == [Ok()] * 11

    sizes = sorted(len(call.body) for call in receiver.received)
    assert sizes[-2] <= 4096 + 20 < sizes[-1]
    assert set(receiver.done) == {event.event_id for event in events}
    await backend.close()


async def test_one_bad_event_is_found_and_the_others_are_taken(
    receiver: WebhookReceiver, backend: WebhookBackend
) -> None:
    events = [make_event(number) for number in range(32)]
    receiver.refused = {events[13].event_id}

    outcomes = await backend.deliver([delivered(event) for event in events])

    assert [number for number, outcome in enumerate(outcomes) if outcome != Ok()] == [13]
    bad = outcomes[13]
    assert isinstance(bad, Permanent) and bad.is_sure
    assert '422: {"error":"cannot take this"}' in bad.reason
    assert (len(receiver.done), receiver.repeats) == (31, 0)


async def test_results_are_judged_one_by_one(receiver: WebhookReceiver, backend: WebhookBackend) -> None:
    events = [make_event(number) for number in range(6)]
    ids = [event.event_id for event in events]
    receiver.judged = {
        ids[1]: {"status": 409},
        ids[2]: {"status": 422, "error": "no such model"},
        ids[3]: {"status": 503, "retry_after_s": 9},
        ids[4]: {"status": 401, "error": "not for you"},
        ids[5]: {"event_id": "somebody-else"},
    }

    outcomes = await backend.deliver([delivered(event) for event in events])

    assert outcomes[:2] == [Ok()] * 2
    assert outcomes[2] == Permanent("the receiver says 422 of this event: no such model", is_sure=True)
    assert outcomes[3] == Retry("the receiver says 503 of this event", 9000)
    assert isinstance(outcomes[4], Retry)
    assert isinstance(outcomes[5], Unknown)
    assert len(receiver.received) == 1


async def test_a_multi_status_without_results_confirms_nothing(
    receiver: WebhookReceiver, backend: WebhookBackend
) -> None:
    receiver.next(says(207, b'{"results":[{"broken'))

    assert isinstance((await backend.deliver([delivered(make_event())]))[0], Unknown)


@pytest.mark.parametrize("body", [b"", b"ok", b'{"results":[]}', b'{"results":7}', b"[]", b'{"error":"x"}', b"\xff"])
async def test_any_other_body_of_a_yes_is_a_yes(
    receiver: WebhookReceiver, backend: WebhookBackend, body: bytes
) -> None:
    receiver.next(says(200, body))

    assert await backend.deliver([delivered(make_event())]) == [Ok()]


@pytest.mark.slow
async def test_a_slow_receiver_makes_progress_within_each_delivery(receiver: WebhookReceiver) -> None:
    async def slow(received: object, wire: object) -> None:
        await asyncio.sleep(0.3)
        await WebhookReceiver.behave(receiver, received, wire)  # type: ignore[arg-type]

    receiver.behave = slow  # type: ignore[method-assign]
    backend = build(settings(receiver, webhook_batch_size=1, dispatcher_timeout_ms=2000))
    await backend.open()
    batch = [delivered(make_event(number)) for number in range(40)]

    outcomes = await backend.deliver(batch)

    done = outcomes.count(Ok())
    assert 4 <= done < 40
    assert len(receiver.done) >= done
    await backend.close()


async def test_nothing_secret_reaches_log_or_outcome(
    receiver: WebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    backend = build(settings(receiver))
    echo = (b"x-echo", SECRET.encode())
    receiver.next(says(500, SECRET.encode(), echo), says(404, f"Cannot POST {receiver.path}".encode()), takes_and_cuts)

    with caplog.at_level(logging.DEBUG):
        outcomes = [(await backend.deliver([delivered(make_event())]))[0] for _ in range(3)]
        await backend.close()

    told = caplog.text + repr(outcomes)
    assert SECRET not in told
    assert "T0KEN" not in told
    assert "Cannot POST /********" in told


async def test_through_the_fleet_every_event_is_taken_once_and_the_bad_one_is_buried(
    receiver: WebhookReceiver, log: SqliteLog
) -> None:
    events = [make_event(number) for number in range(100)]
    receiver.refused = {events[42].event_id}
    receiver.next(says(503, b"", (b"retry-after", b"0")), says(500), takes_and_cuts)
    await log.ensure_groups(["webhook"])
    await feed(log, events)
    stop = asyncio.Event()

    async def is_done() -> bool:
        group = await group_of(log, "webhook")
        return group.delivered + group.dead == 100

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(Fleet([build(settings(receiver))], log, QUICK).run(stop))
        await eventually_async(is_done)
        stop.set()

    assert set(receiver.done) == {event.event_id for event in events} - receiver.refused
    group = await group_of(log, "webhook")
    assert (group.delivered, group.dead) == (99, 1)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, ["WEBHOOK_URL: is required; give it the address to send to, https://...", "WEBHOOK_SECRET: is required"]),
        ({"webhook_url": Secret("gopher://x"), "webhook_secret": Secret("s")}, ["WEBHOOK_URL: must begin with"]),
    ],
)
def test_settings_that_cannot_work_stop_the_start(changes: dict[str, object], told: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Settings(**changes))  # type: ignore[arg-type]

    assert len(caught.value.mistakes) == len(told)
    assert all(line.startswith(start) for line, start in zip(caught.value.mistakes, told, strict=True))


def test_the_signature_is_what_openssl_makes() -> None:
    """`printf '1795000000.{"events": []}' | openssl dgst -sha256 -hmac whsec`"""
    told = signature(Secret("whsec"), 1_795_000_000, b'{"events": []}')

    assert told == "t=1795000000,v1=450ce13ecd4234e9950fbb324c3b1903673de2c4ae7e951ab74c8937725c8082"


def test_the_check_of_the_readme_takes_what_is_ours_and_nothing_else() -> None:
    told = README.read_text().split("```python\n", 1)[1].split("```", 1)[0]
    scope: dict[str, Any] = {}
    exec(told, scope)
    body, now_s = b'{"events":[]}', int(time.time())

    assert scope["is_ours"]("whsec", signature(Secret("whsec"), now_s, body), body)
    assert not scope["is_ours"]("other", signature(Secret("whsec"), now_s, body), body)
    assert not scope["is_ours"]("whsec", signature(Secret("whsec"), now_s, body), body + b" ")
    assert not scope["is_ours"]("whsec", signature(Secret("whsec"), now_s - 3600, body), body)

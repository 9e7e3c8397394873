"""OTLP over HTTP: spans as the collector reads them, and its rules about what may be sent again."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from bus.event import Body
from bus.sqlite_log import SqliteLog
from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends.base import Ok, Permanent, Retry, Unknown
from dispatcher.backends.otlp import OtlpBackend, build, with_path
from dispatcher.backends.otlp_encoding import partial_success
from dispatcher.fleet import Fleet
from tests.dispatcher.scripted import QUICK, delivered, feed, group_of, make_event
from tests.support.http_sink import cuts_in_the_body, says, takes_and_cuts
from tests.support.otlp_server import Collector, attributes_of
from tests.support.waiting import eventually_async


def to(collector: Collector, **changes: object) -> OtlpBackend:
    values = {"otlp_endpoint": collector.upstream.url, "dispatcher_timeout_ms": 60_000, **changes}
    return build(Settings(**values))  # type: ignore[arg-type]


@pytest.fixture(params=["http/protobuf", "http/json"])
async def backend(collector: Collector, request: pytest.FixtureRequest) -> AsyncIterator[OtlpBackend]:
    opened = to(collector, otlp_protocol=request.param)
    await opened.open()
    yield opened
    await opened.close()


async def test_a_batch_arrives_as_spans_in_one_call(collector: Collector, backend: OtlpBackend) -> None:
    events = [make_event(number) for number in range(100)]

    assert await backend.deliver([delivered(event) for event in events]) == [Ok()] * 100

    assert len(collector.received) == 1
    assert collector.received[0].all("content-encoding") == [b"gzip"]
    span = collector.by_event()[events[3].event_id]
    assert (span.name, span.kind) == ("chat gpt-4o", 3)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_234_567_000
    assert attributes_of(span)["gen_ai.usage.input_tokens"] == 12
    assert collector.resources == [{"service.name": "llm-proxy"}]


async def test_a_second_delivery_is_the_same_span_again(collector: Collector, backend: OtlpBackend) -> None:
    event = make_event()
    collector.next(takes_and_cuts)

    lost = await backend.deliver([delivered(event)])
    await backend.deliver([delivered(event, deliveries=2)])

    assert isinstance(lost[0], Unknown)
    first, second = collector.spans
    assert first == second


async def test_headers_come_from_the_settings(collector: Collector) -> None:
    collector.needs = {"x-api-key": "a,b", "x-scope": "mine"}
    backend = to(collector, otlp_headers=Secret("X-Api-Key=a%2Cb, x-scope=mine"))

    assert await backend.deliver([delivered(make_event())]) == [Ok()]

    await backend.close()


async def test_what_was_said_stays_here_unless_wished(collector: Collector) -> None:
    body = Body(b'{"messages":[{"role":"user","content":"private"}]}', "application/json")
    for is_wished in (False, True):
        backend = to(collector, otlp_bodies=is_wished)
        await backend.deliver([delivered(make_event(request_body=body))])
        await backend.close()

    quiet, open_ = collector.spans
    assert b"private" not in quiet.SerializeToString()
    assert b"private" in open_.SerializeToString()


async def test_rejected_spans_are_told_and_never_sent_again(
    collector: Collector, backend: OtlpBackend, caplog: pytest.LogCaptureFixture
) -> None:
    collector.rejects = {"chat evil"}
    batch = [delivered(make_event(number, model="evil" if number == 1 else "good")) for number in range(4)]

    with caplog.at_level(logging.WARNING):
        outcomes = await backend.deliver(batch)

    told = Permanent("1 of 4 spans were rejected, it is not said which: attribute too long", is_sure=True)
    assert outcomes == [told] * 4
    assert len(collector.received) == 1
    assert "did not take all" in caplog.text


async def test_a_warning_of_the_collector_is_no_rejection(collector: Collector, backend: OtlpBackend) -> None:
    collector.warning = "please use a newer version"

    assert await backend.deliver([delivered(make_event())]) == [Ok()]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_these_may_be_sent_again(collector: Collector, backend: OtlpBackend, status: int) -> None:
    collector.next(says(status))

    assert isinstance((await backend.deliver([delivered(make_event())]))[0], Retry | Unknown)


@pytest.mark.parametrize("status", [400, 408, 413, 500, 501, 505])
async def test_and_these_may_not(collector: Collector, backend: OtlpBackend, status: int) -> None:
    collector.next(says(status, b"cannot"))

    (outcome,) = await backend.deliver([delivered(make_event())])

    assert isinstance(outcome, Permanent) and outcome.is_sure


@pytest.mark.parametrize("status", [401, 403, 404, 405, 410, 301])
async def test_wrong_settings_wait_for_a_person(collector: Collector, backend: OtlpBackend, status: int) -> None:
    collector.next(says(status))

    (outcome,) = await backend.deliver([delivered(make_event())])

    assert isinstance(outcome, Retry)
    assert "check OTLP_ENDPOINT" in outcome.reason


async def test_one_malformed_span_is_found_among_the_others(collector: Collector, backend: OtlpBackend) -> None:
    collector.malformed = {"chat evil"}
    batch = [delivered(make_event(number, model="evil" if number == 21 else "good")) for number in range(64)]

    outcomes = await backend.deliver(batch)

    assert [number for number, outcome in enumerate(outcomes) if outcome != Ok()] == [21]
    assert isinstance(outcomes[21], Permanent)
    assert len(collector.spans) == 63


async def test_requests_stay_small_enough_for_collectors(collector: Collector, backend: OtlpBackend) -> None:
    collector.largest = 5 * 1024 * 1024
    agent = "x" * 200_000
    batch = [delivered(make_event(number, user_agent=agent)) for number in range(30)]

    assert await backend.deliver(batch) == [Ok()] * 30
    assert len(collector.received) == 2


async def test_a_web_page_is_no_collector(collector: Collector, backend: OtlpBackend) -> None:
    collector.next(says(200, b"\n<!doctype html><title>Welcome</title>"))

    (outcome,) = await backend.deliver([delivered(make_event())])

    assert outcome == Retry("a web page answered instead of a collector; check the address")


@pytest.mark.parametrize("body", [b"", b"{}", b"ok", b'{"successes":[]}', b'{"partialSuccess":null}', b"\xff\xff"])
async def test_other_answers_of_a_yes_are_a_yes(collector: Collector, backend: OtlpBackend, body: bytes) -> None:
    collector.next(says(200, body))

    assert await backend.deliver([delivered(make_event())]) == [Ok()]


def test_numbers_in_json_may_be_text() -> None:
    assert partial_success(b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"no"}}') == (3, "no")
    assert partial_success(b'{"partialSuccess":{"rejectedSpans":3}}') == (3, "")


async def test_a_cut_answer_is_sent_again(collector: Collector, backend: OtlpBackend) -> None:
    collector.next(cuts_in_the_body)

    assert isinstance((await backend.deliver([delivered(make_event())]))[0], Unknown)


def test_the_path_of_traces_is_added_to_a_bare_address() -> None:
    assert with_path("http://collector:4318") == "http://collector:4318/v1/traces"
    assert with_path("http://collector:4318/") == "http://collector:4318/v1/traces"
    assert with_path("https://otlp.example/v1/spans?k=v") == "https://otlp.example/v1/spans?k=v"


def test_settings_that_cannot_work_are_told_without_the_secret() -> None:
    with pytest.raises(ConfigError) as caught:
        build(Settings(otlp_headers=Secret("Bearer hidden")))

    assert caught.value.mistakes == [
        "OTLP_ENDPOINT: is required; give it the address to send to, https://...",
        "OTLP_HEADERS: must be name=value, separated by commas",
    ]


async def test_through_the_fleet_everything_arrives_or_is_buried(collector: Collector, log: SqliteLog) -> None:
    collector.malformed = {"chat evil"}
    collector.next(says(503, b"", (b"retry-after", b"0")), takes_and_cuts)
    events = [make_event(number, model="evil" if number == 50 else "good") for number in range(100)]
    await log.ensure_groups(["otlp"])
    await feed(log, events)
    stop = asyncio.Event()

    async def is_done() -> bool:
        group = await group_of(log, "otlp")
        return group.delivered + group.dead == 100

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(Fleet([to(collector)], log, QUICK).run(stop))
        await eventually_async(is_done)
        stop.set()

    assert len(collector.by_event()) == 99
    assert (await group_of(log, "otlp")).dead == 1

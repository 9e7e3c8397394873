"""Langfuse: its own attributes on its OTLP endpoint, and what it does when it does not want them."""

import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bus.event import Body
from bus.sqlite_log import SqliteLog
from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends.base import Ok, Permanent, Retry, Unknown
from dispatcher.backends.langfuse import build
from dispatcher.backends.otlp import OtlpBackend
from tests.dispatcher.backends.services import conversation, delivered_by
from tests.dispatcher.scripted import delivered, make_event
from tests.support.http_sink import says, takes_and_cuts
from tests.support.langfuse_server import PUBLIC, SECRET, Langfuse
from tests.support.otlp_server import attributes_of


def to(langfuse: Langfuse, secret: str = SECRET) -> OtlpBackend:
    host = f"{langfuse.upstream.url}/base/"
    return build(Settings(langfuse_host=host, langfuse_public_key=Secret(PUBLIC), langfuse_secret_key=Secret(secret)))


@pytest.fixture
async def backend(langfuse: Langfuse) -> AsyncIterator[OtlpBackend]:
    opened = to(langfuse)
    yield opened
    await opened.close()


async def told(langfuse: Langfuse, backend: OtlpBackend, **changes: object) -> dict[str, Any]:
    event = conversation(**changes)
    assert await backend.deliver([delivered(event)]) == [Ok()]
    return attributes_of(langfuse.by_event()[event.event_id])


async def test_a_conversation_is_a_generation_with_all_that_langfuse_shows(
    langfuse: Langfuse, backend: OtlpBackend
) -> None:
    seen = await told(langfuse, backend)

    assert seen["langfuse.observation.type"] == "generation"
    assert seen["langfuse.observation.model.name"] == "gpt-4o-2"
    assert json.loads(seen["langfuse.observation.input"]) == [{"role": "user", "content": "How are you?"}]
    assert json.loads(seen["langfuse.observation.output"]) == {"role": "assistant", "content": "Fine, thanks."}
    usage = {"input": 10, "output": 6, "input_cache_read": 4, "output_reasoning_tokens": 2}
    assert json.loads(seen["langfuse.observation.usage_details"]) == usage
    assert json.loads(seen["langfuse.observation.cost_details"]) == {"total": 0.0015}
    assert json.loads(seen["langfuse.observation.model.parameters"]) == {"stream": True, "temperature": 0.5}
    assert seen["langfuse.observation.completion_start_time"] == "2026-11-18T11:06:40.650Z"
    assert (seen["user.id"], seen["session.id"], seen["langfuse.session.id"]) == ("grete", "session-9", "session-9")
    assert seen["langfuse.observation.metadata.project_id"] == "project-1"
    assert seen["langfuse.observation.level"] == "DEFAULT"


async def test_the_time_of_the_span_is_that_of_the_exchange(langfuse: Langfuse, backend: OtlpBackend) -> None:
    await backend.deliver([delivered(conversation())])

    (span,) = langfuse.spans
    assert span.start_time_unix_nano == 1_795_000_000_250_000_000
    assert span.end_time_unix_nano == 1_795_000_002_150_000_000


async def test_unknown_usage_and_cost_are_left_to_langfuse(langfuse: Langfuse, backend: OtlpBackend) -> None:
    seen = await told(langfuse, backend, usage=None, cost_microusd=None, request_body=None, response_body=None)

    for name in ("usage_details", "cost_details", "input", "output"):
        assert f"langfuse.observation.{name}" not in seen


async def test_errors_and_cuts_have_a_level(langfuse: Langfuse, backend: OtlpBackend) -> None:
    failed = await told(langfuse, backend, status=429, code="rate_limit_exceeded")
    left = await told(langfuse, backend, cut="client")

    assert failed["langfuse.observation.level"] == "ERROR"
    assert failed["langfuse.observation.status_message"] == "rate_limit_exceeded"
    assert left["langfuse.observation.level"] == "WARNING"
    assert left["langfuse.observation.status_message"] == "cut by the client"


async def test_what_is_no_conversation_is_shown_as_it_is(langfuse: Langfuse, backend: OtlpBackend) -> None:
    embedding = await told(
        langfuse,
        backend,
        path="/v1/embeddings",
        streamed=False,
        request_body=Body(b'{"model":"e","input":["a","b"]}', "application/json"),
        response_body=Body(b'{"data":[{"embedding":[0.5]}]}', "application/json"),
    )
    listing = await told(langfuse, backend, method="GET", path="/v1/models", model="", response_model="")

    assert embedding["langfuse.observation.type"] == "embedding"
    assert json.loads(embedding["langfuse.observation.input"]) == [{"role": "user", "content": "a\nb"}]
    assert json.loads(embedding["langfuse.observation.output"]) == {"data": [{"embedding": [0.5]}]}
    assert listing["langfuse.observation.type"] == "span"


async def test_a_malformed_span_is_found_and_the_others_are_taken(langfuse: Langfuse, backend: OtlpBackend) -> None:
    langfuse.malformed = {"chat evil"}
    batch = [delivered(make_event(number, model="evil" if number == 5 else "good")) for number in range(16)]

    outcomes = await backend.deliver(batch)

    assert [number for number, outcome in enumerate(outcomes) if outcome != Ok()] == [5]
    assert isinstance(outcomes[5], Permanent)


async def test_a_suspended_plan_and_wrong_keys_bury_nothing(
    langfuse: Langfuse, backend: OtlpBackend, caplog: pytest.LogCaptureFixture
) -> None:
    langfuse.is_suspended = True
    with caplog.at_level(logging.DEBUG):
        (suspended,) = await backend.deliver([delivered(make_event())])
        langfuse.is_suspended = False
        other = to(langfuse, secret="sk-lf-wrong")
        (wrong,) = await other.deliver([delivered(make_event())])
        await other.close()

    assert isinstance(suspended, Retry) and "Usage threshold exceeded" in suspended.reason
    assert isinstance(wrong, Retry) and "check LANGFUSE_HOST and the keys" in wrong.reason
    assert SECRET not in caplog.text + suspended.reason + wrong.reason


async def test_an_error_of_langfuse_is_tried_again(langfuse: Langfuse, backend: OtlpBackend) -> None:
    langfuse.next(says(500), says(429, b"", (b"retry-after", b"3")), says(524))

    outcomes = [(await backend.deliver([delivered(make_event())]))[0] for _ in range(3)]

    assert isinstance(outcomes[0], Unknown)
    assert isinstance(outcomes[1], Retry) and outcomes[1].after_ms == 3000
    assert isinstance(outcomes[2], Unknown)


async def test_through_the_fleet_each_event_is_one_span(langfuse: Langfuse, log: SqliteLog) -> None:
    langfuse.next(says(502), takes_and_cuts)
    events = [conversation(number) for number in range(60)]

    assert await delivered_by(to(langfuse), log, events) == (60, 0)

    assert set(langfuse.by_event()) == {event.event_id for event in events}
    assert len({span.span_id for span in langfuse.spans}) == 60


def test_missing_keys_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        build(Settings())

    assert caught.value.mistakes == ["LANGFUSE_PUBLIC_KEY: is required", "LANGFUSE_SECRET_KEY: is required"]

"""The payload that the Go program's users know, with the event's id first."""

import json

import msgspec

from bus.event import Body, Usage
from dispatcher.payloads import payload_of, timestamp
from tests.dispatcher.scripted import make_event


def line(**changes: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(msgspec.json.encode(payload_of(make_event(**changes))))  # type: ignore[arg-type]
    return found


def test_it_has_the_go_programs_fields() -> None:
    event = make_event(
        event_id="019a0000-0000-7000-8000-000000000001",
        accepted_at_ms=1_795_000_000_123,
        end_user="user-7",
        response_body=Body(b'{"id": "x"}', "application/json"),
    )

    payload = json.loads(msgspec.json.encode(payload_of(event)))
    metadata = payload.pop("metadata")

    assert payload == {
        "event_id": "019a0000-0000-7000-8000-000000000001",
        "type": "llm",
        "event": "start",
        "runId": "019a0000-0000-7000-8000-000000000001",
        "timestamp": "2026-11-18T11:06:40.123Z",
        "name": "gpt-4o",
        "userId": "user-7",
        "input": {"model": "gpt-4o"},
        "output": {"id": "x"},
        "tokensUsage": {"completion": 8, "prompt": 12},
        "log_id": 0,
    }
    assert metadata.items() >= {"method": "POST", "path": "/v1/chat/completions", "status": 200}.items()
    assert metadata.items() >= {"duration_ms": 1234, "request_id": "request-0"}.items()


def test_the_id_comes_first_on_the_line() -> None:
    event = make_event()

    assert msgspec.json.encode(payload_of(event)).startswith(f'{{"event_id":"{event.event_id}",'.encode())


def test_unknown_usage_is_absent_not_zero() -> None:
    assert "tokensUsage" not in line(usage=None)
    assert line(usage=Usage())["tokensUsage"] == {"completion": 0, "prompt": 0}


def test_an_exchange_without_bodies_has_neither_input_nor_output() -> None:
    payload = line(request_body=None, response_body=None)

    assert not {"input", "output", "input_base64", "output_base64"} & set(payload)


def test_the_time_is_the_requests_not_the_deliverys() -> None:
    assert timestamp(0) == "1970-01-01T00:00:00.000Z"
    assert timestamp(1_795_000_000_007) == "2026-11-18T11:06:40.007Z"

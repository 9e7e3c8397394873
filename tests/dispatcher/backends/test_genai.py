"""The GenAI names, and the times and ids of spans."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bus.event import Body, ExchangeFinished, Usage
from dispatcher.backends.genai import Seen, attributes, error_type, operation_of, span_name
from dispatcher.backends.otlp_encoding import as_json, as_protobuf, json_request, protobuf_request
from dispatcher.backends.spans import span_of
from dispatcher.said import said_in
from tests.dispatcher.scripted import make_event
from tests.support.otlp_server import PROTOBUF, attributes_of, read_request


def facts(event: ExchangeFinished, *, with_bodies: bool = False) -> dict[str, Any]:
    return dict(attributes(Seen(event, said_in(event)), with_bodies=with_bodies))


def called(path: str = "/v1/chat/completions", **call: Any) -> ExchangeFinished:
    body = Body(json.dumps(call).encode(), "application/json")
    dialect = "gemini" if path.startswith("/v1beta") else "openai"
    return make_event(path=path, dialect=dialect, request_body=body, streamed=bool(call.get("stream")))


def test_usage_counts_cached_and_reasoning_inside_as_the_conventions_say() -> None:
    usage = Usage(input=10, cache_read=20, cache_write=30, audio_input=5, output=7, reasoning=3, audio_output=2)

    told = facts(make_event(usage=usage))

    assert told["gen_ai.usage.input_tokens"] == 65
    assert told["gen_ai.usage.output_tokens"] == 12
    assert told["gen_ai.usage.cache_read.input_tokens"] == 20
    assert told["gen_ai.usage.cache_creation.input_tokens"] == 30
    assert told["gen_ai.usage.reasoning.output_tokens"] == 3


def test_unknown_is_absent_and_never_zero() -> None:
    told = facts(make_event(usage=None, cost_microusd=None, last_byte_us=None))

    assert not [name for name in told if name.startswith("gen_ai.usage")]
    assert facts(make_event(usage=Usage(), cost_microusd=0))["gen_ai.usage.input_tokens"] == 0
    assert facts(make_event(cost_microusd=1_250_000))["gen_ai.usage.cost"] == 1.25


def test_the_names_of_providers_are_the_conventions() -> None:
    names = {p: facts(make_event(provider=p))["gen_ai.provider.name"] for p in ("openai", "gemini", "azure", "mine")}

    assert names == {"openai": "openai", "gemini": "gcp.gemini", "azure": "azure.ai.openai", "mine": "mine"}


def test_parameters_of_a_call_are_told_whatever_the_dialect() -> None:
    told = facts(called(max_completion_tokens=50, temperature=0.5, stop="END", n=3, seed=7, service_tier="flex",
                        response_format={"type": "json_schema"}, stream=True))  # fmt: skip
    assert told["gen_ai.request.max_tokens"] == 50
    assert told["gen_ai.request.temperature"] == 0.5
    assert told["gen_ai.request.stop_sequences"] == ["END"]
    assert told["gen_ai.request.choice.count"] == 3
    assert told["gen_ai.request.seed"] == 7
    assert told["gen_ai.output.type"] == "json"
    assert told["openai.request.service_tier"] == "flex"
    assert told["openai.api.type"] == "chat_completions"
    assert told["gen_ai.request.stream"] is True

    gemini = called("/v1beta/models/g:generateContent", generationConfig={"maxOutputTokens": 9, "topK": 40, "topP": 1})
    told = facts(gemini)
    assert (told["gen_ai.request.max_tokens"], told["gen_ai.request.top_k"]) == (9, 40)
    assert "gen_ai.request.choice.count" not in told


def test_odd_parameters_are_left_out() -> None:
    told = facts(called(max_tokens="many", temperature=True, stop={"a": 1}, n=None, seed=[1]))

    assert not [name for name in told if name.startswith("gen_ai.request.") and name != "gen_ai.request.model"]


def test_what_was_said_is_told_only_on_wish() -> None:
    reply = b'{"choices":[{"message":{"role":"assistant","content":"secret answer"},"finish_reason":"stop"}]}'
    event = make_event(
        request_body=Body(b'{"messages":[{"role":"user","content":"secret question"}]}', "application/json"),
        response_body=Body(reply, "application/json"),
    )

    quiet, open_ = facts(event), facts(event, with_bodies=True)

    assert "secret" not in json.dumps(quiet)
    assert quiet["gen_ai.response.finish_reasons"] == ["stop"]
    parts = [{"type": "text", "content": "secret question"}]
    assert json.loads(open_["gen_ai.input.messages"]) == [{"role": "user", "parts": parts}]
    assert json.loads(open_["gen_ai.output.messages"])[0]["finish_reason"] == "stop"


def test_operations_come_from_paths_and_only_of_calls_that_make_a_model_work() -> None:
    told = {
        path: operation_of(make_event(path=path))
        for path in ("/v1/messages", "/v1/completions", "/v1/embeddings", "/v1beta/models/g:streamGenerateContent")
    }

    assert list(told.values()) == ["chat", "text_completion", "embeddings", "generate_content"]
    assert span_name(make_event(method="GET", path="/v1/models", model="")) == "GET"
    assert span_name(make_event()) == "chat gpt-4o"


def test_errors_have_few_names() -> None:
    assert error_type(make_event()) == ""
    assert error_type(make_event(status=429, code="rate_limit_exceeded")) == "rate_limit_exceeded"
    assert error_type(make_event(status=500)) == "500"
    assert error_type(make_event(cut="upstream")) == "upstream_cut"
    assert error_type(make_event(status=0, cut="interrupted")) == "interrupted"
    assert error_type(make_event(status=200, cut="client")) == ""


def test_times_are_exact_and_the_first_chunk_is_told_of_streams_only() -> None:
    event = make_event(accepted_at_ms=1_795_000_000_123, first_byte_us=250_000, last_byte_us=1_234_567, streamed=True)

    span = span_of(event, [])

    assert span.start_ns == 1_795_000_000_123_000_000
    assert span.end_ns - span.start_ns == 1_234_567_000
    assert facts(event)["gen_ai.response.time_to_first_chunk"] == 0.25
    assert "gen_ai.response.time_to_first_chunk" not in facts(make_event(first_byte_us=250_000))
    cut_short = span_of(make_event(last_byte_us=None, first_byte_us=None, upstream_head_us=5), [])
    assert cut_short.end_ns - cut_short.start_ns == 5000


def test_ids_come_from_the_event() -> None:
    event, trace_id = make_event(), "4bf92f3577b34da6a3ce929d0e0e4736"

    first, again, other = span_of(event, []), span_of(event, []), span_of(make_event(), [])

    assert (first.trace_id, first.span_id) == (again.trace_id, again.span_id)
    assert first.span_id != other.span_id
    assert span_of(make_event(trace_id=trace_id), []).trace_id.hex() == trace_id
    for odd in ("0" * 32, "x" * 32, trace_id.upper(), trace_id[:-1]):
        assert span_of(make_event(trace_id=odd, event_id=event.event_id), []).trace_id == first.trace_id


VALUES = st.text() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(min_size=1), VALUES | st.lists(st.text()), max_size=8), st.text(), st.booleans())
def test_both_encodings_say_the_same(told: dict[str, Any], model: str, is_error: bool) -> None:
    span = span_of(make_event(model=model, status=500 if is_error else 200), list(told.items()))

    read = read_request(PROTOBUF, protobuf_request([as_protobuf(span), as_protobuf(span)]))
    also = read_request("application/json", json_request([as_json(span), as_json(span)]))

    assert read is not None
    assert read == also
    spans = read.resource_spans[0].scope_spans[0].spans
    assert len(spans) == 2
    assert attributes_of(spans[1]) == {
        name: str(value) if type(value) is int and not -(2**63) <= value < 2**63 else value
        for name, value in told.items()
    }
    assert (spans[0].status.code == 2) == is_error

"""An event's attributes by the names of OpenTelemetry's GenAI conventions: the one table of them.

The conventions are in development and have no release; when names change, they change here and nowhere else.
What begins with `llm_proxy.` is ours. Absent and empty values are left out, and unknown is never 0.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from bus.event import ExchangeFinished
from dispatcher import messages
from dispatcher.merging import Json, object_in, objects_in, text_in
from dispatcher.said import Said

Value = str | bool | int | float | list[str]


class Seen(Struct, frozen=True):
    """An event and what its bodies say."""

    event: ExchangeFinished
    said: Said


_PARAMETER: Final = "gen_ai.request."
_MODEL: Final = "gen_ai.request.model"
_OPERATIONS: Final = (
    ("/chat/completions", "chat"),
    ("/messages", "chat"),
    ("/responses", "chat"),
    ("/completions", "text_completion"),
    ("/embeddings", "embeddings"),
    (":embedContent", "embeddings"),
    (":batchEmbedContents", "embeddings"),
    (":generateContent", "generate_content"),
    (":streamGenerateContent", "generate_content"),
    ("/images/generations", "image_generation"),
    ("/images/edits", "image_generation"),
    ("/audio/speech", "speech"),
    ("/audio/transcriptions", "transcription"),
    ("/audio/translations", "transcription"),
    ("/moderations", "moderation"),
)
_PROVIDERS: Final = {
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "moonshot": "moonshot_ai",
}
_API_TYPES: Final = {"/chat/completions": "chat_completions", "/responses": "responses"}


def operation_of(event: ExchangeFinished) -> str:
    """Empty for an exchange that made no model work: a list of models, a file."""
    if event.method != "POST":
        return ""
    return next((operation for ending, operation in _OPERATIONS if event.path.endswith(ending)), "")


def span_name(event: ExchangeFinished) -> str:
    operation = operation_of(event)
    return f"{operation} {event.model}".rstrip() if operation else event.method


def error_type(event: ExchangeFinished) -> str:
    """Empty when it went well. A client that left a running stream made no error."""
    if event.cut in ("upstream", "interrupted"):
        return f"{event.cut}_cut" if event.cut == "upstream" else event.cut
    if event.status >= 400 or event.status == 0:
        return event.code or str(event.status)
    return ""


def attributes(seen: Seen, *, with_bodies: bool) -> Iterator[tuple[str, Value]]:
    table = _FACTS + _CONTENT if with_bodies else _FACTS
    for name, value_of in table:
        value = value_of(seen)
        if value is not None and value != "" and value != []:
            yield name, value


def parameters(seen: Seen) -> dict[str, Value]:
    """Of the call: temperature, max_tokens and the like, by their names in the conventions."""
    told = ((name, value_of(seen)) for name, value_of in _FACTS if name.startswith(_PARAMETER) and name != _MODEL)
    return {name.removeprefix(_PARAMETER): value for name, value in told if value is not None and value != []}


def _from_event(value_of: Callable[[ExchangeFinished], Value | None]) -> Callable[[Seen], Value | None]:
    return lambda seen: value_of(seen.event)


def _usage(name: str, *, is_part: bool = False) -> Callable[[Seen], Value | None]:
    """A part is named only when there is some of it."""

    def read(seen: Seen) -> Value | None:
        count: int | None = getattr(seen.event.usage, name, None)
        return count or None if is_part else count

    return read


_MAX_TOKENS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens")


def _number(*names: str) -> Callable[[Seen], Value | None]:
    """A parameter of the call; Gemini has its own in `generationConfig`."""

    def read(seen: Seen) -> Value | None:
        call = seen.said.call
        for source in (call, _config(call)) if seen.said.shape == "gemini" else (call,):
            for name in names:
                found = source.get(name)
                if isinstance(found, int | float) and not isinstance(found, bool):
                    return found
        return None

    return read


def _stop_sequences(seen: Seen) -> Value | None:
    call = seen.said.call
    told = call.get("stop") or call.get("stop_sequences") or _config(call).get("stopSequences")
    if isinstance(told, str):
        return [told]
    return [one for one in told if isinstance(one, str)] if isinstance(told, list) else None


def _choice_count(seen: Seen) -> Value | None:
    count = _number("n", "candidateCount")(seen)
    return count if count != 1 else None


def _output_type(seen: Seen) -> Value | None:
    operation, call = operation_of(seen.event), seen.said.call
    if operation in ("image_generation", "speech"):
        return "image" if operation == "image_generation" else "speech"
    wanted = object_in(call.get("response_format") or object_in(call.get("text")).get("format"))
    is_json = text_in(wanted.get("type")).startswith("json") or "json" in text_in(_config(call).get("responseMimeType"))
    return "json" if is_json else None


def _config(call: Json) -> Json:
    return object_in(call.get("generationConfig") or call.get("generation_config"))


def _of_call(name: str) -> Callable[[Seen], Value | None]:
    return lambda seen: text_in(seen.said.call.get(name))


def _of_reply(name: str) -> Callable[[Seen], Value | None]:
    return lambda seen: text_in(seen.said.reply.get(name))


def _api_type(seen: Seen) -> Value | None:
    if seen.said.shape != "openai":
        return None
    return next((kind for ending, kind in _API_TYPES.items() if seen.event.path.endswith(ending)), None)


def _first_chunk_s(event: ExchangeFinished) -> Value | None:
    return event.first_byte_us / 1e6 if event.streamed and event.first_byte_us is not None else None


def _as_json(value: Any) -> str | None:
    return msgspec.json.encode(value).decode() if value else None


def _tools(seen: Seen) -> Value | None:
    return _as_json(objects_in(seen.said.call.get("tools")))


_FACTS: Final[tuple[tuple[str, Callable[[Seen], Value | None]], ...]] = (
    ("gen_ai.operation.name", _from_event(operation_of)),
    ("gen_ai.provider.name", _from_event(lambda e: _PROVIDERS.get(e.provider, e.provider))),
    ("gen_ai.request.model", _from_event(lambda e: e.model)),
    ("gen_ai.request.stream", _from_event(lambda e: e.streamed or None)),
    ("gen_ai.request.max_tokens", _number(*_MAX_TOKENS)),
    ("gen_ai.request.temperature", _number("temperature")),
    ("gen_ai.request.top_p", _number("top_p", "topP")),
    ("gen_ai.request.top_k", _number("top_k", "topK")),
    ("gen_ai.request.frequency_penalty", _number("frequency_penalty", "frequencyPenalty")),
    ("gen_ai.request.presence_penalty", _number("presence_penalty", "presencePenalty")),
    ("gen_ai.request.seed", _number("seed")),
    ("gen_ai.request.choice.count", _choice_count),
    ("gen_ai.request.stop_sequences", _stop_sequences),
    ("gen_ai.output.type", _output_type),
    ("gen_ai.embeddings.dimension.count", _number("dimensions", "outputDimensionality")),
    ("gen_ai.response.id", _from_event(lambda e: e.response_id)),
    ("gen_ai.response.model", _from_event(lambda e: e.response_model)),
    ("gen_ai.response.finish_reasons", lambda seen: messages.finish_reasons(seen.said)),
    ("gen_ai.response.time_to_first_chunk", _from_event(_first_chunk_s)),
    ("gen_ai.usage.input_tokens", _usage("prompt_tokens")),
    ("gen_ai.usage.output_tokens", _usage("completion_tokens")),
    ("gen_ai.usage.cache_read.input_tokens", _usage("read_from_cache", is_part=True)),
    ("gen_ai.usage.cache_creation.input_tokens", _usage("written_to_cache", is_part=True)),
    ("gen_ai.usage.reasoning.output_tokens", _usage("reasoning", is_part=True)),
    ("gen_ai.usage.audio.input_tokens", _usage("audio_input", is_part=True)),
    ("gen_ai.usage.audio.output_tokens", _usage("audio_output", is_part=True)),
    ("gen_ai.usage.image.input_tokens", _usage("image_input", is_part=True)),
    ("gen_ai.usage.video.input_tokens", _usage("video_input", is_part=True)),
    ("gen_ai.usage.cost", _from_event(lambda e: e.cost_microusd / 1e6 if e.cost_microusd is not None else None)),
    ("gen_ai.conversation.id", _from_event(lambda e: e.conversation_id)),
    ("openai.api.type", _api_type),
    ("openai.request.service_tier", _of_call("service_tier")),
    ("openai.response.service_tier", _of_reply("service_tier")),
    ("openai.response.system_fingerprint", _of_reply("system_fingerprint")),
    ("error.type", _from_event(error_type)),
    ("user.id", _from_event(lambda e: e.end_user)),
    ("session.id", _from_event(lambda e: e.session_id)),
    ("http.request.method", _from_event(lambda e: e.method)),
    ("url.path", _from_event(lambda e: e.path)),
    ("http.response.status_code", _from_event(lambda e: e.status or None)),
    ("client.address", _from_event(lambda e: e.client_ip)),
    ("user_agent.original", _from_event(lambda e: e.user_agent)),
    ("llm_proxy.event_id", _from_event(lambda e: e.event_id)),
    ("llm_proxy.request_id", _from_event(lambda e: e.request_id)),
    ("llm_proxy.project_id", _from_event(lambda e: e.project_id)),
    ("llm_proxy.token_id", _from_event(lambda e: e.token_id)),
    ("llm_proxy.organisation", _from_event(lambda e: e.organisation)),
    ("llm_proxy.code", _from_event(lambda e: e.code)),
    ("llm_proxy.cut", _from_event(lambda e: e.cut)),
    ("llm_proxy.cached", _from_event(lambda e: e.cached or None)),
    ("llm_proxy.attempts", _from_event(lambda e: e.attempts or None)),
    ("llm_proxy.overhead_us", _from_event(lambda e: e.overhead_us)),
    ("llm_proxy.upstream_head_us", _from_event(lambda e: e.upstream_head_us)),
    ("llm_proxy.request_bytes", _from_event(lambda e: e.request_bytes)),
    ("llm_proxy.response_bytes", _from_event(lambda e: e.response_bytes)),
)  # fmt: skip

_CONTENT: Final[tuple[tuple[str, Callable[[Seen], Value | None]], ...]] = (
    ("gen_ai.system_instructions", lambda seen: _as_json(messages.system_of(seen.said))),
    ("gen_ai.input.messages", lambda seen: _as_json(messages.asked(seen.said))),
    ("gen_ai.output.messages", lambda seen: _as_json(messages.answered(seen.said))),
    ("gen_ai.tool.definitions", _tools),
)
"""What people said: only where the backend's setting and the project's recording allow it."""

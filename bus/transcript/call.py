"""What a call says about itself: which model, streamed or not, and whose it is.

Only for the record. Bytes that cannot be read give empty facts, never an error: the provider judges the call.
"""

from typing import Any, Final

import msgspec
from msgspec import Struct, field

from bus.transcript import multipart, paths, scan
from bus.transcript.found import name_of
from bus.transcript.kept import shorten
from bus.transcript.usage import MAX_COUNT

_MOST_CHOICES: Final = 128
_MAX_DECODED_BYTES: Final = 4 * 1024 * 1024
_TEXTS: Final = ("model", "user", "safety_identifier", "previous_response_id", "session_id")


class CallFacts(Struct, frozen=True):
    model: str = ""
    """As asked for; the path's, where the path names one."""
    is_stream: bool = False
    end_user: str = ""
    """`user`, `safety_identifier` or Anthropic's `metadata.user_id`: the client's own user."""
    conversation_id: str = ""
    session_id: str = ""
    max_output_tokens: int | None = None
    """The longest answer that the call allows; None where it does not say."""
    choices: int = 1
    """Answers that it asks for at once."""


class _Call(Struct):
    """A call of any dialect; only what is named here is decoded."""

    model: Any = None
    stream: Any = None
    user: Any = None
    safety_identifier: Any = None
    conversation: Any = None
    previous_response_id: Any = None
    session_id: Any = None
    metadata: Any = None
    n: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None
    max_output_tokens: Any = None
    generation: Any = field(name="generationConfig", default=None)
    generation_config: Any = None


_decoder = msgspec.json.Decoder(_Call)


def read_call(dialect: str, path: str, content_type: str, body: bytes) -> CallFacts:
    """`body` as it passed, or its beginning. Never raises."""
    call, told = _decode(content_type, body), paths.told_by(dialect, path)
    metadata = call.metadata if isinstance(call.metadata, dict) else {}
    user_id = metadata.get("user_id") if told.shape == "anthropic" else None
    return CallFacts(
        model=told.model or name_of(call.model),
        is_stream=call.stream is True or told.streams,
        end_user=name_of(call.user) or name_of(call.safety_identifier) or name_of(user_id),
        conversation_id=_conversation(call) or told.conversation_id,
        session_id=name_of(call.session_id) or name_of(metadata.get("session_id")),
        max_output_tokens=_longest_answer(call),
        choices=min(call.n, _MOST_CHOICES) if type(call.n) is int and call.n > 0 else 1,
    )


def _longest_answer(call: _Call) -> int | None:
    """The longest of all that is told: which one counts is the provider's to say."""
    told = [call.max_completion_tokens, call.max_tokens, call.max_output_tokens]
    for generation in (call.generation, call.generation_config):
        if isinstance(generation, dict):
            told += [generation.get("maxOutputTokens"), generation.get("max_output_tokens")]
    longest = max((most for most in told if type(most) is int and most >= 0), default=None)
    return None if longest is None else min(longest, MAX_COUNT)


def _decode(content_type: str, body: bytes) -> _Call:
    form = multipart.fields(content_type, body)
    if form:
        return _Call(model=form.get("model"), stream=form.get("stream") == "true", user=form.get("user"))
    if "json" not in content_type.lower() and not body[:64].lstrip().startswith(b"{"):
        return _Call()
    body = shorten(body, _MAX_DECODED_BYTES)
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Call(**scan.top_level_texts(body, _TEXTS))


def _conversation(call: _Call) -> str:
    named = call.conversation
    if isinstance(named, dict):
        named = named.get("id")
    return name_of(named) or name_of(call.previous_response_id)

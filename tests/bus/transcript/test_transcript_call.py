"""What a call says about itself, in each dialect and in forms."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.transcript.call import CallFacts, read_call

CHAT = "/v1/chat/completions"


def read(body: dict[str, Any], dialect: str = "openai", path: str = CHAT) -> CallFacts:
    return read_call(dialect, path, "application/json", json.dumps(body).encode())


def test_a_chat_names_model_stream_user_and_session() -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "model": "gpt-4o", "stream": True, "user": "u-1"}

    assert read({**body, "metadata": {"session_id": "s-1"}}) == CallFacts("gpt-4o", True, "u-1", "", "s-1")


@pytest.mark.parametrize(
    ("body", "conversation"),
    [
        ({"conversation": "conv_1", "previous_response_id": "resp_1"}, "conv_1"),
        ({"conversation": {"id": "conv_2"}}, "conv_2"),
        ({"previous_response_id": "resp_1"}, "resp_1"),
        ({"conversation": 5}, ""),
    ],
)
def test_a_response_names_its_conversation(body: dict[str, Any], conversation: str) -> None:
    assert read(body, path="/v1/responses").conversation_id == conversation


def test_a_path_names_the_conversation_where_the_body_does_not() -> None:
    assert read({}, path="/v1/threads/thread_9/runs").conversation_id == "thread_9"


def test_safety_identifier_is_the_end_user_and_a_cache_key_no_session() -> None:
    facts = read({"model": "gpt-5", "safety_identifier": "hash-1", "prompt_cache_key": "k"}, path="/v1/responses")

    assert (facts.end_user, facts.session_id) == ("hash-1", "")


def test_anthropic_names_its_user_in_the_metadata() -> None:
    body = {"model": "claude-sonnet-4-5", "stream": False, "metadata": {"user_id": "u-2"}}

    assert read(body, "anthropic", "/v1/messages") == CallFacts("claude-sonnet-4-5", False, "u-2")


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        ("/v1beta/models/gemini-2.5-pro:generateContent", CallFacts("gemini-2.5-pro")),
        ("/gemini/v1beta/models/gemini-2.5-pro:streamGenerateContent", CallFacts("gemini-2.5-pro", True)),
        ("/v1beta/tunedModels/my%2Dmodel:generateContent", CallFacts("my-model")),
        ("/v1beta/models", CallFacts()),
    ],
)
def test_gemini_names_model_and_stream_in_the_path(path: str, facts: CallFacts) -> None:
    assert read({"contents": []}, "gemini", path) == facts


def test_azure_names_the_deployment_in_the_path() -> None:
    path = "/azure/openai/deployments/my-gpt/chat/completions"

    assert read({"model": "ignored", "stream": True}, path=path) == CallFacts("my-gpt", True)


FORM = (
    b'--b1\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b1\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
)
FILE = (
    b'--b1\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    + b'RIFF name="model"\r\n\r\n' * 10_000
    + b"\r\n"
)
END = b"--b1--\r\n"


@pytest.mark.parametrize("body", [FORM + FILE + END, FILE + FORM + END, FORM + FILE])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b1", 'Multipart/Form-Data; boundary="b1"'])
def test_a_form_names_its_model_before_or_behind_a_file(body: bytes, kind: str) -> None:
    assert read_call("openai", "/v1/audio/transcriptions", kind, body) == CallFacts("whisper-1", True)


def test_a_field_of_a_form_that_is_cut_does_not_count() -> None:
    body = b'--b1\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhis'

    assert read_call("openai", "/v1/audio/transcriptions", "multipart/form-data; boundary=b1", body) == CallFacts()


def test_a_file_with_the_name_of_a_field_is_no_field() -> None:
    body = b'--b1\r\nContent-Disposition: form-data; name="model"; filename="m"\r\n\r\nx\r\n--b1--\r\n'

    assert read_call("openai", "/v1/files", "multipart/form-data; boundary=b1", body) == CallFacts()


def test_a_call_longer_than_what_is_decoded_still_names_its_model() -> None:
    image = "data:image/png;base64," + "A" * (6 * 1024 * 1024)
    body = {"messages": [{"role": "user", "content": [{"image_url": {"url": image}}]}], "model": "gpt-4o"}

    assert read(body).model == "gpt-4o"


def test_a_call_that_is_cut_names_what_stood_before_the_cut() -> None:
    body = b'{"model":"gpt-4o","metadata":{"model":"no"},"user":"u-1","messages":[{"role":"user","model":"no"'

    assert read_call("openai", CHAT, "application/json", body) == CallFacts("gpt-4o", False, "u-1")


@given(body=st.binary(max_size=200), kind=st.sampled_from(["application/json", "", "multipart/form-data; boundary=b"]))
def test_any_bytes_are_read_without_an_error(body: bytes, kind: str) -> None:
    facts = read_call("openai", CHAT, kind, body)

    assert facts.model.isprintable()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "user_id", "session_id"]), inner)
    ),
)
FIELDS = (
    *("model", "stream", "user", "safety_identifier", "conversation", "previous_response_id", "session_id"),
    "metadata",
)


@given(
    body=st.dictionaries(st.sampled_from(FIELDS), VALUES), dialect=st.sampled_from(["openai", "anthropic", "gemini"])
)
def test_fields_of_a_wrong_type_are_empty(body: dict[str, Any], dialect: str) -> None:
    facts = read(body, dialect, "/v1/messages")

    assert all(isinstance(v, str) for v in (facts.model, facts.end_user, facts.conversation_id, facts.session_id))
    assert facts.is_stream is (body.get("stream") is True)


def test_many_escaped_quotes_in_a_string_that_never_ends_take_no_time() -> None:
    body = b'{"a":"' + b'\\"' * 500_000

    assert read_call("openai", CHAT, "application/json", body) == CallFacts()

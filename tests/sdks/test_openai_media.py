"""Embeddings, images, audio and moderation through the official OpenAI client."""

import base64
import struct
from pathlib import Path

import pytest
from openai import OpenAI

from bus.event import Usage
from tests.sdks.records import Records
from tests.sdks.script import EVENT_STREAM, answers, named_events, sent_json, streams
from tests.support.upstream import Received, Upstream, Wire

AUDIO = bytes(range(256)) * 4000  # a megabyte of every byte there is
FLOATS = [0.25, -1.5, 3.0]


def embeddings(embedding: object) -> dict[str, object]:
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": embedding}],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    }


def test_embeddings_come_as_base64_by_the_sdks_own_choice(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    answers(upstream, "/v1/embeddings", embeddings(base64.b64encode(struct.pack("<3f", *FLOATS)).decode()))

    reply = openai_client.embeddings.create(model="text-embedding-3-small", input="hello")

    assert reply.data[0].embedding == FLOATS
    assert sent_json(upstream)["encoding_format"] == "base64"
    records.tell(model="text-embedding-3-small", usage=Usage(input=5))


def test_embeddings_come_as_floats_when_asked_for(openai_client: OpenAI, upstream: Upstream) -> None:
    answers(upstream, "/v1/embeddings", embeddings(FLOATS))

    reply = openai_client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format="float")

    assert reply.data[0].embedding == FLOATS
    assert sent_json(upstream)["input"] == ["a", "b"]


def test_an_embedding_of_megabytes_passes_and_is_counted(
    openai_client: OpenAI, upstream: Upstream, records: Records
) -> None:
    packed = base64.b64encode(struct.pack("<2000000f", *([0.5] * 2_000_000))).decode()
    answers(upstream, "/v1/embeddings", embeddings(packed))

    reply = openai_client.embeddings.create(model="text-embedding-3-small", input="hello")

    assert len(reply.data[0].embedding) == 2_000_000
    records.tell(model="text-embedding-3-small", usage=Usage(input=5))


def test_speech_is_streamed_to_a_file(
    openai_client: OpenAI, upstream: Upstream, records: Records, tmp_path: Path
) -> None:
    @upstream.on("/v1/audio/speech")
    async def speak(received: Received, wire: Wire) -> None:
        await wire.start_chunked((b"content-type", b"audio/mpeg"))
        for at in range(0, len(AUDIO), 50_000):
            await wire.chunk(AUDIO[at : at + 50_000])
        await wire.end()

    with openai_client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="coral", input="Grüezi!"
    ) as speech:
        speech.stream_to_file(tmp_path / "speech.mp3")

    assert (tmp_path / "speech.mp3").read_bytes() == AUDIO
    records.tell(model="gpt-4o-mini-tts")
    assert records.the_one().response_bytes == len(AUDIO)


def test_speech_comes_as_bytes(openai_client: OpenAI, upstream: Upstream) -> None:
    answers(upstream, "/v1/audio/speech", AUDIO, (b"content-type", b"audio/mpeg"))

    speech = openai_client.audio.speech.create(model="gpt-4o-mini-tts", voice="coral", input="Grüezi!")

    assert speech.content == AUDIO


def test_a_recording_is_uploaded_for_transcription(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    usage = {
        "type": "tokens",
        "input_tokens": 14,
        "input_token_details": {"text_tokens": 4, "audio_tokens": 10},
        "output_tokens": 87,
        "total_tokens": 101,
    }
    answers(upstream, "/v1/audio/transcriptions", {"text": "Grüezi mitenand", "usage": usage})

    heard = openai_client.audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.mp3", AUDIO, "audio/mpeg"))

    assert heard.text == "Grüezi mitenand"
    received = upstream.received[-1]
    assert received.all("content-type")[0].startswith(b"multipart/form-data; boundary=")
    assert AUDIO in received.body
    records.tell(model="gpt-4o-transcribe", usage=Usage(input=4, audio_input=10, output=87))


def test_a_transcription_is_streamed(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 3, "total_tokens": 17}
    done = {"type": "transcript.text.done", "text": "Grüezi", "usage": usage}
    events = named_events({"type": "transcript.text.delta", "delta": "Grüezi"}, done)
    streams(upstream, "/v1/audio/transcriptions", events)

    stream = openai_client.audio.transcriptions.create(model="gpt-4o-transcribe", file=b"audio", stream=True)

    assert [e.type for e in stream] == ["transcript.text.delta", "transcript.text.done"]
    records.tell(model="gpt-4o-transcribe", usage=Usage(input=14, output=3), streamed=True)


def test_plain_text_transcriptions_pass(openai_client: OpenAI, upstream: Upstream) -> None:
    answers(upstream, "/v1/audio/transcriptions", "Grüezi\n".encode(), (b"content-type", b"text/plain"))

    heard = openai_client.audio.transcriptions.create(model="whisper-1", file=b"audio", response_format="text")

    assert str(heard).strip() == "Grüezi"


def test_an_image_is_drawn(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    usage = {"input_tokens": 50, "output_tokens": 4160, "total_tokens": 4210}
    picture = base64.b64encode(AUDIO).decode()
    answers(upstream, "/v1/images/generations", {"created": 1, "data": [{"b64_json": picture}], "usage": usage})

    reply = openai_client.images.generate(model="gpt-image-1", prompt="a goat")

    assert reply.data is not None and reply.data[0].b64_json == picture
    records.tell(model="gpt-image-1", usage=Usage(input=50, output=4160))


def test_an_image_is_uploaded_to_be_edited(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    answers(upstream, "/v1/images/edits", {"created": 1, "data": [{"b64_json": "aGk="}]})

    openai_client.images.edit(model="gpt-image-1", image=[("a.png", AUDIO), ("b.png", b"second")], prompt="a hat")

    assert upstream.received[-1].body.count(b'name="image[]"') == 2
    records.tell(model="gpt-image-1")


def test_partial_images_are_streamed(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    usage = {"input_tokens": 50, "output_tokens": 50, "total_tokens": 100}
    partial = {"type": "image_generation.partial_image", "b64_json": "aGk=", "partial_image_index": 0}
    whole = {"type": "image_generation.completed", "b64_json": "aGk=", "usage": usage}
    streams(upstream, "/v1/images/generations", named_events(partial, whole))

    stream = openai_client.images.generate(model="gpt-image-1", prompt="a goat", stream=True, partial_images=1)

    assert [e.type for e in stream] == ["image_generation.partial_image", "image_generation.completed"]
    records.tell(model="gpt-image-1", usage=Usage(input=50, output=50), streamed=True)


@pytest.mark.parametrize("flagged", [True, False])
def test_moderation_passes(openai_client: OpenAI, upstream: Upstream, records: Records, flagged: bool) -> None:
    result = {"flagged": flagged, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
    answers(upstream, "/v1/moderations", {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]})

    reply = openai_client.moderations.create(model="omni-moderation-latest", input="a text")

    assert reply.results[0].flagged is flagged
    records.tell(model="omni-moderation-latest", response_id="modr-1")


def test_speech_is_streamed_as_events(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    usage = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
    delta = {"type": "speech.audio.delta", "audio": "aGk="}
    streams(upstream, "/v1/audio/speech", named_events(delta, {"type": "speech.audio.done", "usage": usage}))

    with openai_client.audio.speech.with_streaming_response.create(
        model="gpt-4o-mini-tts", voice="coral", input="Grüezi!", stream_format="sse"
    ) as speech:
        assert speech.headers["content-type"] == EVENT_STREAM[1].decode()
        assert b"speech.audio.done" in speech.read()

    records.tell(model="gpt-4o-mini-tts", usage=Usage(input=14, output=101), streamed=True)

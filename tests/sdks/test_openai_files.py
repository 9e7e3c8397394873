"""Files, uploads, batches and the list of models through the official OpenAI client."""

import hashlib
import json
from pathlib import Path

from openai import OpenAI

from tests.sdks import openai_replies as openai
from tests.sdks.records import Records
from tests.sdks.script import answers, sent_json
from tests.support.upstream import Received, Upstream, Wire

CONTENT = b"".join(b'{"custom_id": "%d"}\n' % n for n in range(200_000))


def test_a_file_is_uploaded_as_it_is(
    openai_client: OpenAI, upstream: Upstream, records: Records, tmp_path: Path
) -> None:
    (tmp_path / "batch.jsonl").write_bytes(CONTENT)
    answers(upstream, "/v1/files", openai.file(size=len(CONTENT)))

    with (tmp_path / "batch.jsonl").open("rb") as source:
        uploaded = openai_client.files.create(file=source, purpose="batch")

    assert uploaded.id == "file-abc123"
    body = upstream.received[-1].body
    assert CONTENT in body
    assert b'filename="batch.jsonl"' in body
    records.tell(response_id="file-abc123")
    assert records.the_one().request_bytes == len(body)


def test_a_files_content_comes_back_as_it_is(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    answers(upstream, "/v1/files/file-abc123/content", CONTENT, (b"content-type", b"application/octet-stream"))

    content = openai_client.files.content("file-abc123").read()

    assert hashlib.sha256(content).digest() == hashlib.sha256(CONTENT).digest()
    records.tell()
    assert records.the_one().response_bytes == len(CONTENT)


def test_a_files_content_is_streamed_to_disk(openai_client: OpenAI, upstream: Upstream, tmp_path: Path) -> None:
    @upstream.on("/v1/files/file-abc123/content")
    async def content(received: Received, wire: Wire) -> None:
        await wire.start_chunked((b"content-type", b"application/octet-stream"))
        for at in range(0, len(CONTENT), 100_000):
            await wire.chunk(CONTENT[at : at + 100_000])
        await wire.end()

    with openai_client.files.with_streaming_response.content("file-abc123") as raw:
        raw.stream_to_file(tmp_path / "content")

    assert (tmp_path / "content").read_bytes() == CONTENT


def test_files_are_listed_and_deleted(openai_client: OpenAI, upstream: Upstream) -> None:
    page = {"object": "list", "data": [openai.file()], "has_more": False, "first_id": "a", "last_id": "b"}
    answers(upstream, "/v1/files", page)
    answers(upstream, "/v1/files/file-abc123", {"id": "file-abc123", "object": "file", "deleted": True})

    names = [f.filename for f in openai_client.files.list(purpose="batch", limit=10)]
    deleted = openai_client.files.delete("file-abc123")

    assert (names, deleted.deleted) == (["batch.jsonl"], True)
    assert [(r.method, r.target) for r in upstream.received] == [
        ("GET", "/v1/files?limit=10&purpose=batch"),
        ("DELETE", "/v1/files/file-abc123"),
    ]


def test_pages_are_followed_through_the_proxy(openai_client: OpenAI, upstream: Upstream) -> None:
    @upstream.on("/v1/files")
    async def pages(received: Received, wire: Wire) -> None:
        is_first = "after=" not in received.target
        data = [{**openai.file(), "id": "file-1" if is_first else "file-2"}]
        page = json.dumps({"object": "list", "data": data, "has_more": is_first}).encode()
        await wire.reply(200, page, (b"content-type", b"application/json"))

    assert [f.id for f in openai_client.files.list()] == ["file-1", "file-2"]


def test_a_large_file_is_uploaded_in_parts(openai_client: OpenAI, upstream: Upstream) -> None:
    upload = {
        "id": "upload_1",
        "object": "upload",
        "bytes": len(CONTENT),
        "created_at": 1,
        "expires_at": 2,
        "filename": "batch.jsonl",
        "purpose": "batch",
        "status": "pending",
    }
    part = {"id": "part_1", "object": "upload.part", "created_at": 1, "upload_id": "upload_1"}
    answers(upstream, "/v1/uploads", upload)
    answers(upstream, "/v1/uploads/upload_1/parts", part)
    answers(upstream, "/v1/uploads/upload_1/complete", {**upload, "status": "completed", "file": openai.file()})

    done = openai_client.uploads.upload_file_chunked(
        file=CONTENT, filename="batch.jsonl", bytes=len(CONTENT), mime_type="text/jsonl", purpose="batch"
    )

    assert done.status == "completed"
    assert sent_json(upstream)["part_ids"] == ["part_1"]


def test_a_batch_is_made_watched_and_cancelled(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    answers(upstream, "/v1/batches", openai.batch())
    answers(upstream, "/v1/batches/batch_abc123", openai.batch("in_progress"))
    answers(upstream, "/v1/batches/batch_abc123/cancel", openai.batch("cancelling"))

    made = openai_client.batches.create(
        input_file_id="file-abc123", endpoint="/v1/chat/completions", completion_window="24h"
    )
    watched = openai_client.batches.retrieve(made.id)
    cancelled = openai_client.batches.cancel(made.id)

    assert [made.status, watched.status, cancelled.status] == ["validating", "in_progress", "cancelling"]
    assert [e.path for e in records.fresh()] == [
        "/v1/batches",
        "/v1/batches/batch_abc123",
        "/v1/batches/batch_abc123/cancel",
    ]


def test_models_are_listed_and_shown(openai_client: OpenAI, upstream: Upstream) -> None:
    model = {"id": "ft:gpt-4.1:acme::x1", "object": "model", "created": 1, "owned_by": "acme"}
    answers(upstream, "/v1/models", {"object": "list", "data": [model]})
    answers(upstream, "/v1/models/ft:gpt-4.1:acme::x1", model)

    listed = [m.id for m in openai_client.models.list()]
    shown = openai_client.models.retrieve("ft:gpt-4.1:acme::x1")

    assert (listed, shown.owned_by) == (["ft:gpt-4.1:acme::x1"], "acme")


def test_vector_stores_and_conversations_pass(openai_client: OpenAI, upstream: Upstream, records: Records) -> None:
    answers(upstream, "/v1/vector_stores", {"id": "vs_1", "object": "vector_store", "name": "n"})
    answers(upstream, "/v1/conversations", {"id": "conv_1", "object": "conversation", "created_at": 1, "metadata": {}})

    store = openai_client.vector_stores.create(name="n")
    conversation = openai_client.conversations.create(metadata={"topic": "goats"})

    assert (store.id, conversation.id) == ("vs_1", "conv_1")
    assert [e.status for e in records.fresh()] == [200, 200]

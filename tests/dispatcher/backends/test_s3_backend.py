"""Objects in a bucket: where they lie, what is in them, and that each event is there once."""

import asyncio
import gzip
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Body, ExchangeFinished
from bus.sqlite_log import SqliteLog
from config.errors import ConfigError
from config.secret import Secret
from config.settings import Settings
from dispatcher.backends.base import Ok, Retry, Unknown
from dispatcher.backends.s3 import S3Backend, build
from dispatcher.backends.s3_objects import CODINGS, folder_of, ids_in, line_of, may_hold, name_of
from tests.dispatcher.backends.services import delivered_by
from tests.dispatcher.scripted import delivered, make_event
from tests.support.s3_server import ACCESS_KEY, S3, SECRET_KEY
from tests.support.upstream import Received, Upstream, Wire

HOUR_MS = 3_600_000
OPENERS: dict[str, Callable[[bytes], bytes]] = {
    ".zst": lambda content: zstandard.decompress(content),
    ".gz": gzip.decompress,
    "jsonl": lambda content: content,
}


def settings_for(url: str, bucket: str, **changes: object) -> Settings:
    keys = {"s3_access_key_id": Secret(ACCESS_KEY), "s3_secret_access_key": Secret(SECRET_KEY)}
    where = {"s3_endpoint": url, "s3_bucket": bucket, "s3_region": "us-east-1"}
    return Settings(**{**keys, **where, **changes})  # type: ignore[arg-type]


def to(s3: S3, **changes: object) -> S3Backend:
    return build(settings_for(s3.url, s3.bucket, **changes))


@pytest.fixture
async def backend(s3: S3) -> AsyncIterator[S3Backend]:
    opened = to(s3)
    await opened.open()
    yield opened
    await opened.close()


def lines_in(s3: S3) -> list[dict[str, Any]]:
    texts = [next(o for end, o in OPENERS.items() if key.endswith(end))(s3.content(key)) for key in s3.listed()]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def ids(s3: S3) -> list[str]:
    return sorted(line["event_id"] for line in lines_in(s3))


def ids_of(events: list[ExchangeFinished]) -> list[str]:
    return sorted(event.event_id for event in events)


@pytest.mark.slow
async def test_a_batch_is_one_object_in_the_folder_of_its_hour(s3: S3, backend: S3Backend) -> None:
    events = [make_event(number) for number in range(50)]

    assert await backend.deliver([delivered(event) for event in events]) == [Ok()] * 50

    (key,) = s3.listed()
    folder, _, name = key.rpartition("/")
    assert folder == "llm-proxy/date=2026-11-18/hour=11"
    first, *_, last = ids_of(events)
    assert name.startswith(f"{first}_{last}_") and name.endswith(".jsonl.zst")
    assert ids(s3) == ids_of(events)
    assert lines_in(s3)[0]["metadata"]["project_id"] == "project-1"


@pytest.mark.parametrize("compression", ["zstd", "gzip", "none"])
async def test_objects_are_compressed_as_wished(s3: S3, compression: str) -> None:
    backend = to(s3, s3_compression=compression)
    events = [make_event(number, response_body=Body(b"x" * 5000, "text/plain")) for number in range(20)]

    await backend.deliver([delivered(event) for event in events])

    assert ids(s3) == ids_of(events)
    assert (len(s3.content(s3.listed()[0])) < 20_000) == (compression != "none")


async def test_hours_and_projects_have_folders_of_their_own(s3: S3) -> None:
    backend = to(s3, s3_by_project=True, s3_prefix="/archive/events/")
    at_ms = 1_795_000_000_000
    batch = [make_event(n, accepted_at_ms=at_ms + n % 2 * HOUR_MS, project_id=f"p/{n % 3}") for n in range(12)]

    assert await backend.deliver([delivered(event) for event in batch]) == [Ok()] * 12

    folders = {key.rpartition("/")[0] for key in s3.listed()}
    wanted = {f"project=p-{p}/date=2026-11-18/hour={h}" for p in range(3) for h in (11, 12)}
    assert folders == {f"archive/events/{one}" for one in wanted}
    assert ids(s3) == ids_of(batch)


async def test_the_same_batch_again_is_the_same_object(s3: S3, backend: S3Backend) -> None:
    events = [make_event(number) for number in range(10)]
    await backend.deliver([delivered(event) for event in events])
    first = s3.content(s3.listed()[0])

    for batch in (events, events[::-1]):
        await backend.deliver([delivered(event) for event in batch])

    assert len(s3.listed()) == 1
    assert s3.content(s3.listed()[0]) == first


async def test_a_redelivered_event_is_found_wherever_it_lies_and_not_written_twice(s3: S3, backend: S3Backend) -> None:
    events = [make_event(number) for number in range(40)]
    await backend.deliver([delivered(event) for event in events[:20]])
    await backend.close()
    restarted = to(s3)

    some = [delivered(event, deliveries=2) for event in (*events[5:15], *events[25:30])]
    fresh = [delivered(event) for event in events[30:]]
    outcomes = await restarted.deliver(some + fresh)

    assert outcomes == [Ok()] * 25
    assert ids(s3) == ids_of(events[:20] + events[25:])


async def test_what_was_compressed_otherwise_before_is_found_too(s3: S3) -> None:
    events = [make_event(number) for number in range(10)]
    await to(s3, s3_compression="gzip").deliver([delivered(event) for event in events])

    await to(s3).deliver([delivered(event, deliveries=2) for event in events])

    assert len(ids(s3)) == 10


async def test_a_strangers_or_broken_object_hides_nothing(s3: S3, backend: S3Backend) -> None:
    event = make_event()
    folder = folder_of(event, "llm-proxy", by_project=False)
    for name in ("notes.txt", name_of([event.event_id, "z"], CODINGS["zstd"])):
        s3.client.put_object(Bucket=s3.bucket, Key=f"{folder}/{name}", Body=b"no lines")

    await backend.deliver([delivered(event, deliveries=2)])

    keys = [key for key in s3.listed() if key.endswith(name_of([event.event_id], CODINGS["zstd"]))]
    assert len(keys) == 1


async def test_a_bucket_that_is_not_there_buries_nothing(s3: S3, caplog: pytest.LogCaptureFixture) -> None:
    backend = build(settings_for(s3.url, "no-such-bucket"))

    with caplog.at_level(logging.DEBUG):
        outcomes = await backend.deliver([delivered(make_event())] * 2)

    assert all(isinstance(outcome, Retry) for outcome in outcomes)
    assert "NoSuchBucket" in repr(outcomes) and "check S3_BUCKET" in repr(outcomes)
    assert SECRET_KEY not in caplog.text + repr(outcomes)


async def test_a_store_that_is_away_is_asked_again() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        backend = build(settings_for(f"http://127.0.0.1:{unused.getsockname()[1]}", "bucket"))

        outcomes = await backend.deliver([delivered(make_event())])

    assert outcomes == [Unknown("bucket bucket: HTTP error: error sending request")]


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_other_noes_are_asked_again(upstream: Upstream, status: int) -> None:
    @upstream.on("/bucket/" + _key_of(event := make_event()))
    async def answer(received: Received, wire: Wire) -> None:
        await wire.reply(status, b"<Error><Code>SlowDown</Code></Error>")

    backend = build(settings_for(upstream.url, "bucket"))
    outcomes = await backend.deliver([delivered(event)])

    assert isinstance(outcomes[0], Unknown)
    assert len(upstream.received) == 1, "the dispatcher retries, not obstore"


@pytest.mark.parametrize("status", [301, 400, 401, 403])
async def test_wrong_settings_are_told_and_keys_masked(upstream: Upstream, status: int) -> None:
    @upstream.on("/bucket/" + _key_of(event := make_event()))
    async def answer(received: Received, wire: Wire) -> None:
        said = f"<Code>InvalidAccessKeyId</Code><Id>{ACCESS_KEY}</Id><Message>{SECRET_KEY}</Message>"
        await wire.reply(status, said.encode())

    outcomes = await build(settings_for(upstream.url, "bucket")).deliver([delivered(event)])

    assert isinstance(outcomes[0], Retry)
    assert ("InvalidAccessKeyId" in outcomes[0].reason) == (status != 301)
    assert ACCESS_KEY not in outcomes[0].reason and SECRET_KEY not in outcomes[0].reason
    assert outcomes[0].reason.endswith("check S3_BUCKET, S3_REGION, S3_ENDPOINT and the keys")


async def test_a_store_that_hangs_does_not_outlive_the_delivery(upstream: Upstream) -> None:
    @upstream.on("/bucket/" + _key_of(event := make_event()))
    async def answer(received: Received, wire: Wire) -> None:
        await wire.gone(30)

    backend = build(settings_for(upstream.url, "bucket", dispatcher_timeout_ms=1000))
    async with asyncio.timeout(60):
        outcomes = await backend.deliver([delivered(event)])

    assert isinstance(outcomes[0], Unknown)


async def test_without_the_right_to_list_it_writes_all_the_same(
    upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    @upstream.on("/bucket")
    async def listing(received: Received, wire: Wire) -> None:
        await wire.reply(403, b"<Error><Code>AccessDenied</Code></Error>")

    @upstream.on("/bucket/" + _key_of(event := make_event()))
    async def put(received: Received, wire: Wire) -> None:
        await wire.reply(200, b"", (b"etag", b'"x"'))

    backend = build(settings_for(upstream.url, "bucket"))
    with caplog.at_level(logging.WARNING):
        outcomes = [await backend.deliver([delivered(event, deliveries=2)]) for _ in range(2)]

    assert outcomes == [[Ok()], [Ok()]]
    assert caplog.text.count("may not be listed") == 1


async def test_through_the_fleet_each_event_is_in_the_bucket_once(s3: S3, log: SqliteLog) -> None:
    events = [make_event(number, accepted_at_ms=1_795_000_000_000 + number * 100_000) for number in range(100)]

    assert await delivered_by(to(s3, s3_compression="gzip"), log, events) == (100, 0)
    assert ids(s3) == ids_of(events)


@given(st.sets(st.uuids().map(str), min_size=1, max_size=20), st.sampled_from(list(CODINGS.values())))
def test_an_object_tells_its_ids_and_only_its_own(some: set[str], coding: Any) -> None:
    events = [make_event(event_id=one, response_body=Body(b'{"event_id":"forged"}\n', "text/plain")) for one in some]
    path = f"folder/{name_of(some, coding)}"

    content = coding.compress(b"".join(line_of(event) for event in events))

    assert ids_in(path, content) == some
    assert all(may_hold(path, [one]) for one in some)
    assert not may_hold(path, ["zzz", "000"])
    assert ids_in(path, content[: len(content) // 2]) <= some | {""}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "S3_BUCKET: is required"),
        ({"s3_bucket": "Bad_Name"}, "S3_BUCKET: is required"),
        ({"s3_bucket": "good", "s3_prefix": "a/../b"}, "S3_PREFIX: must not"),
        ({"s3_bucket": "good", "s3_endpoint": "minio:9000"}, "S3_ENDPOINT: must begin with http"),
        ({"s3_bucket": "good", "s3_access_key_id": Secret("x")}, "S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Settings(**changes))  # type: ignore[arg-type]

    assert len(caught.value.mistakes) == 1
    assert caught.value.mistakes[0].startswith(told)


def _key_of(event: ExchangeFinished) -> str:
    """As it stands in the URL."""
    folder = folder_of(event, "llm-proxy", by_project=False).replace("=", "%3D")
    return f"{folder}/{name_of([event.event_id], CODINGS['zstd'])}"

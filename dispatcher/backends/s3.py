"""Backend `s3`: batches as objects of JSON lines in a bucket; s3_objects.py shows their names.

An object's key comes from the ids in it, so the same batch is the same object. A redelivered event is looked for first,
among the objects of its hour: after a crash, too, each event is in the bucket once. That needs the right to list;
without it a crash may write an event twice, and readers go by `event_id`.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec
import obstore
from msgspec import Struct
from obstore.exceptions import BaseError
from obstore.store import S3Store

from bus.event import ExchangeFinished
from config.errors import ConfigError
from config.logs import log
from config.secret import Secret
from config.settings import Compression, Settings
from dispatcher.backends.base import BackendUnavailable, Delivered, Ok, Outcome, Retry, Unknown
from dispatcher.backends.excerpts import excerpt
from dispatcher.backends.parts import Limits, Packed, deliver_in_parts
from dispatcher.backends.s3_objects import CODINGS, folder_of, ids_in, line_of, may_hold, name_of
from dispatcher.backends.targets import url_in

_AT_ONCE: Final = 4
_MAX_BYTES: Final = 64 * 1024**2
_NEVER: Final = 2**31  # nothing in a line can make the store fail, so no event needs to go alone
_CONNECT_S: Final = 5.0
_KNOWN_OBJECTS: Final = 64  # whose ids are remembered; objects never change
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_SAID: Final = re.compile(r"status code: (?P<said>(?P<status>\d{3}).*?)(?:\n\nDebug source|\Z)", re.DOTALL)
_DENIED: Final = frozenset({401, 403})
_MISCONFIGURED: Final = _DENIED | {301, 307, 400, 404, 405}  # a wrong region is 301 or 400, a wrong bucket 404

_logger = logging.getLogger(__name__)


class Target(Struct, frozen=True):
    bucket: str
    prefix: str
    """Without slashes at its ends; may be empty."""
    region: str
    endpoint: str
    """Empty is AWS."""
    access_key_id: Secret | None
    secret_access_key: Secret | None
    """Both None: AWS's own chain of environment, container and instance roles."""
    by_project: bool
    compression: Compression


class S3Backend:
    name = "s3"

    def __init__(self, target: Target, limits: Limits) -> None:
        self._target = target
        self._limits = limits
        self._coding = CODINGS[target.compression]
        self._objects: Objects | None = None

    async def open(self) -> None:
        """Asks nobody: a bucket that is away is told of at the first delivery."""
        self._opened()

    async def deliver(self, batch: Sequence[Delivered]) -> list[Outcome]:
        return await deliver_in_parts(batch, line_of, self._send, self._limits, self._folder_of)

    async def close(self) -> None:
        self._objects = None

    def _folder_of(self, event: ExchangeFinished) -> str:
        return folder_of(event, self._target.prefix, by_project=self._target.by_project)

    async def _send(self, part: Sequence[Packed], until: float) -> list[Outcome]:
        try:
            async with asyncio.timeout_at(until):
                await self._write(part)
        except TimeoutError:
            return [Unknown(f"bucket {self._target.bucket} did not answer in time")] * len(part)
        except (BaseError, OSError) as error:
            return [self._meaning(error)] * len(part)
        return [Ok()] * len(part)

    async def _write(self, part: Sequence[Packed]) -> None:
        folder, objects = part[0].group, self._opened()
        doubtful = {one.item.event.event_id for one in part if one.item.deliveries > 1}
        there = await objects.among(folder, doubtful) if doubtful else set()
        lines = {one.item.event.event_id: one.data for one in part if one.item.event.event_id not in there}
        if lines:
            content = await asyncio.to_thread(self._coding.compress, b"".join(lines[i] for i in sorted(lines)))
            await objects.put(f"{folder}/{name_of(lines, self._coding)}", content)

    def _opened(self) -> "Objects":
        if self._objects is None:
            try:
                self._objects = Objects(_store_of(self._target, self._limits.within_s))
            except BaseError as error:
                raise BackendUnavailable(self._told(error)) from error
        return self._objects

    def _meaning(self, error: Exception) -> Outcome:
        """Nothing in a line of JSON can be to blame, so no event is ever refused for good."""
        if status_of(error) in _MISCONFIGURED:
            return Retry(f"{self._told(error)}; check S3_BUCKET, S3_REGION, S3_ENDPOINT and the keys")
        return Unknown(self._told(error))

    def _told(self, error: Exception) -> str:
        """What the store said, without obstore's own structures around it."""
        found = _SAID.search(str(error))
        said = found["said"] if found else str(error).partition("\n\n")[0].rpartition(" - ")[2]
        keys = [key for key in (self._target.access_key_id, self._target.secret_access_key) if key]
        return f"bucket {self._target.bucket}: {excerpt(said, keys)}"


class Objects:
    """What is done with a store. Raises obstore's errors."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._known: OrderedDict[str, frozenset[str]] = OrderedDict()
        self._may_list = True

    async def put(self, path: str, content: bytes) -> None:
        """Whole or not at all."""
        await obstore.put_async(
            self._store,
            path,
            content,
            attributes={"Content-Type": "application/x-ndjson"},
            mode="overwrite",
            use_multipart=False,
        )

    async def among(self, folder: str, ids: set[str]) -> set[str]:
        """Those of the ids that an object in this folder holds."""
        paths = [path for path in await self._paths(folder) if may_hold(path, ids)]
        found: set[str] = set()
        for path in paths:
            found |= ids & await self._ids_of(path)
        return found

    async def _paths(self, folder: str) -> list[str]:
        if not self._may_list:
            return []
        paths: list[str] = []
        try:
            async for found in obstore.list(self._store, prefix=folder, chunk_size=1000):
                paths += [one["path"] for one in found]
        except BaseError as error:
            if status_of(error) not in _DENIED:
                raise
            self._may_list = False
            log(_logger, logging.WARNING, "the bucket may not be listed; a crash may write an event twice")
        return paths

    async def _ids_of(self, path: str) -> frozenset[str]:
        if path not in self._known:
            try:
                answer = await obstore.get_async(self._store, path)
            except FileNotFoundError:  # somebody's retention took it in between
                return frozenset()
            content = bytes(await answer.bytes_async())
            self._known[path] = await asyncio.to_thread(ids_in, path, content)
            if len(self._known) > _KNOWN_OBJECTS:
                self._known.popitem(last=False)
        return self._known[path]


def status_of(error: Exception) -> int:
    """Of the answer; 0 when there was none. obstore has no field for it."""
    found = _SAID.search(str(error))
    if found:
        return int(found["status"])
    return 301 if "redirect without LOCATION" in str(error) else 0


def _store_of(target: Target, within_s: float) -> S3Store:
    """Never retries by itself: that is the dispatcher's, which knows of time-outs and stops."""
    chosen: dict[str, Any] = {"region": target.region, "endpoint": target.endpoint}
    if target.access_key_id and target.secret_access_key:
        chosen |= {
            "access_key_id": target.access_key_id.reveal(),
            "secret_access_key": target.secret_access_key.reveal(),
        }
    within = timedelta(seconds=within_s)
    return S3Store(
        target.bucket,
        **{name: value for name, value in chosen.items() if value},
        client_options={
            "allow_http": target.endpoint.startswith("http://"),
            "timeout": within,
            "connect_timeout": min(within, timedelta(seconds=_CONNECT_S)),
        },
        retry_config={"max_retries": 0, "retry_timeout": within},
    )


def build(settings: Settings) -> S3Backend:
    """Raises ConfigError."""
    mistakes: list[str] = []
    if not _BUCKET.fullmatch(settings.s3_bucket):
        mistakes.append("S3_BUCKET: is required; the name of a bucket, 3 to 63 of a-z, 0-9, . and -")
    prefix = settings.s3_prefix.strip("/")
    if prefix and any(piece in ("", ".", "..") for piece in prefix.split("/")):
        mistakes.append("S3_PREFIX: must not have empty folders, . or .. in it")
    endpoint = url_in("S3_ENDPOINT", settings.s3_endpoint, mistakes) if settings.s3_endpoint else ""
    if bool(settings.s3_access_key_id) != bool(settings.s3_secret_access_key):
        mistakes.append("S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY: give both or none")
    if mistakes:
        raise ConfigError(mistakes)
    target = Target(
        bucket=settings.s3_bucket,
        prefix=prefix,
        region=settings.s3_region,
        endpoint=endpoint.rstrip("/"),
        access_key_id=settings.s3_access_key_id,
        secret_access_key=settings.s3_secret_access_key,
        by_project=settings.s3_by_project,
        compression=settings.s3_compression,
    )
    limits = Limits.of(settings, items=settings.dispatcher_batch_size, max_bytes=_MAX_BYTES, at_once=_AT_ONCE)
    return S3Backend(target, msgspec.structs.replace(limits, alone_from=_NEVER))

"""The claim-check: large payloads lie in a folder that all keepers and dispatchers share, the bus has a reference.

    <folder>/STORE                         the folder's own id: an empty mount point is not taken for it
    <folder>/2026-11-21/22/<event id>      zstd, in the folder of the hour in which it was written

A file is whole or not there. It goes by age, an hour at a time, and never by who has read it. Blocking.
"""

import contextlib
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import msgspec
import zstandard
from msgspec import Struct

from bus.errors import ClaimAway, ClaimLost
from bus.segments import fdatasync, sync_folder
from config.settings import RecordMode

_STORE: Final = "STORE"
_HOUR: Final = "%Y-%m-%d/%H"
_KEY: Final = re.compile(r"(?P<store>[0-9a-f]{32})/(?P<path>\d{4}-\d\d-\d\d/\d\d/[0-9a-f]{1,64})")


class Claim(Struct, frozen=True, array_like=True):
    """What the bus carries instead of a payload."""

    key: str
    """<the store's id>/<day>/<hour>/<event id>"""
    length: int
    sha256: bytes

    def encode(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def decode(cls, reference: bytes) -> "Claim":
        """Raises ClaimLost for what is no reference of this program."""
        try:
            claim = msgspec.msgpack.decode(reference, type=cls)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ClaimLost(f"the reference cannot be read: {error}") from error
        if not _KEY.fullmatch(claim.key):
            raise ClaimLost("the reference names no claim")
        return claim


@runtime_checkable
class HasClaims(Protocol):
    """A bus whose large payloads lie in a folder."""

    async def expire_claims(self, before_ms: int) -> int:
        """Deletes what is older and needed no more; returns how many hours of it. Raises BusUnavailable."""
        ...


class ClaimFolder:
    def __init__(self, root: Path, record: RecordMode = "os") -> None:
        self._root, self._record = root, record

    def store(self) -> str:
        """The folder's id; empty when it has none. Raises OSError for a folder that cannot be read."""
        with contextlib.suppress(FileNotFoundError):
            return (self._root / _STORE).read_text("ascii", errors="replace").strip()
        return ""

    def make_store(self) -> str:
        """The folder's id; of several who make one at once, all get the first's. Raises OSError."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = self._root / f"{_STORE}.{uuid.uuid4().hex}"
        self._put(made, made, uuid.uuid4().hex.encode())
        with contextlib.suppress(FileExistsError):
            os.link(made, self._root / _STORE)
        made.unlink()
        return self.store()

    def write(self, event_id: bytes, payload: bytes, store: str, now_ms: int) -> Claim:
        """`payload` is compressed. Raises OSError: no room, no right, or another folder lies there now."""
        if self.store() != store:
            raise OSError(f"{self._root} is not the folder {store}; is it mounted?")
        path = f"{_hour_of(now_ms)}/{event_id.hex()}"
        folder = (self._root / path).parent
        for made in (folder.parent, folder):
            made.mkdir(mode=0o700, exist_ok=True)
        self._put(folder / f"{event_id.hex()}.{uuid.uuid4().hex}", self._root / path, payload)
        return Claim(f"{store}/{path}", len(payload), hashlib.sha256(payload).digest())

    def read(self, claim: Claim) -> bytes:
        """As it was written. Raises ClaimAway while the folder is not there, ClaimLost when the file is not in it."""
        store, _, path = claim.key.partition("/")
        try:
            if self.store() != store:
                raise ClaimAway(f"{self._root} is not the folder {store} of large events; is it mounted?")
            payload = (self._root / path).read_bytes()
        except FileNotFoundError as error:
            raise ClaimLost(f"{path} is gone from {self._root}") from error
        except OSError as error:
            raise ClaimAway(f"{self._root} cannot be read ({error.strerror or error})") from error
        if len(payload) != claim.length or hashlib.sha256(payload).digest() != claim.sha256:
            raise ClaimLost(f"{path} in {self._root} is damaged")
        return payload

    def expire(self, before_ms: int) -> int:
        """Deletes the hours that had ended by then; returns how many. Raises OSError."""
        before = datetime.fromtimestamp(before_ms / 1000, UTC)
        ended = [folder for folder, at in self._hours() if at + timedelta(hours=1) <= before]
        for folder in ended:
            shutil.rmtree(folder, ignore_errors=True)  # another keeper may be at it too
            with contextlib.suppress(OSError):  # the day has other hours
                folder.parent.rmdir()
        return len(ended)

    def _hours(self) -> Iterator[tuple[Path, datetime]]:
        """What is named otherwise is somebody else's."""
        for folder in sorted(self._root.glob("*/*")):
            with contextlib.suppress(ValueError):
                yield folder, datetime.strptime(f"{folder.parent.name}/{folder.name}", _HOUR).replace(tzinfo=UTC)

    def _put(self, made: Path, path: Path, content: bytes) -> None:
        """Whole or not at all; on disk before anybody refers to it, unless records need not be either."""
        try:
            with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                if self._record != "async":
                    fdatasync(file.fileno())
            made.replace(path)
        except OSError:
            made.unlink(missing_ok=True)
            raise
        if self._record == "disk":
            _sync_folders(path.parent, self._root)


def compress(payload: bytes) -> bytes:
    return zstandard.compress(payload, 1)


def decompress(payload: bytes) -> bytes:
    """Raises ClaimLost."""
    try:
        return zstandard.decompress(payload)
    except zstandard.ZstdError as error:
        raise ClaimLost(f"it cannot be decompressed: {error}") from error


def _hour_of(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(_HOUR)


def _sync_folders(folder: Path, root: Path) -> None:
    """The file's name, and those of folders that may be new, up to the root."""
    while folder != root:
        sync_folder(folder)
        folder = folder.parent
    sync_folder(root)

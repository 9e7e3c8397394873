"""The objects of the `s3` backend: their names, their lines, their compression. No store is touched here.

    <prefix>/[project=<id>/]date=2026-11-21/hour=14/<first id>_<last id>_<hash of all ids>.jsonl.zst

Hive's way to write folders, which Athena, Spark and DuckDB read as columns.
"""

import gzip
import hashlib
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
import zstandard
from msgspec import Struct

from bus.event import ExchangeFinished
from config.settings import Compression
from dispatcher.payloads import payload_of

_ZSTD_LEVEL: Final = 3
_LINE: Final = re.compile(rb'^\{"event_id":"([^"\n]{1,64})"', re.MULTILINE)
_NAME: Final = re.compile(
    r"(?P<first>[0-9A-Za-z.-]+)_(?P<last>[0-9A-Za-z.-]+)_[0-9a-f]{16}(?P<suffix>\.jsonl(\.zst|\.gz)?)"
)
_encoder = msgspec.json.Encoder()


class Coding(Struct, frozen=True):
    """The same lines are the same bytes, whenever they are compressed."""

    suffix: str
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes], bytes]


CODINGS: Final[Mapping[Compression, Coding]] = {
    "zstd": Coding(".jsonl.zst", lambda lines: zstandard.compress(lines, _ZSTD_LEVEL), zstandard.decompress),
    "gzip": Coding(".jsonl.gz", lambda lines: gzip.compress(lines, mtime=0), gzip.decompress),
    "none": Coding(".jsonl", bytes, bytes),
}
_BY_SUFFIX: Final = {coding.suffix: coding for coding in CODINGS.values()}


def line_of(event: ExchangeFinished) -> bytes:
    """As the `file` backend writes it."""
    return _encoder.encode(payload_of(event)) + b"\n"


def folder_of(event: ExchangeFinished, prefix: str, *, by_project: bool) -> str:
    at = datetime.fromtimestamp(event.accepted_at_ms / 1000, UTC)
    project = f"project={_plain(event.project_id) or 'none'}" if by_project else ""
    return "/".join(piece for piece in (prefix, project, f"date={at:%Y-%m-%d}", f"hour={at:%H}") if piece)


def name_of(ids: Collection[str], coding: Coding) -> str:
    """The same ids have the same name, in whatever order."""
    ordered = sorted(ids)
    digest = hashlib.sha256("\n".join(ordered).encode()).hexdigest()[:16]
    return f"{_plain(ordered[0])}_{_plain(ordered[-1])}_{digest}{coding.suffix}"


def may_hold(path: str, ids: Collection[str]) -> bool:
    """Whether one of the ids lies between the first and the last of this object."""
    found = _NAME.fullmatch(path.rpartition("/")[2])
    return found is not None and any(found["first"] <= _plain(event_id) <= found["last"] for event_id in ids)


def ids_in(path: str, content: bytes) -> frozenset[str]:
    """None of an object that cannot be read: it is somebody else's, or broken."""
    found = _NAME.fullmatch(path.rpartition("/")[2])
    try:
        lines = _BY_SUFFIX[found["suffix"]].decompress(content) if found else b""
    except (zstandard.ZstdError, OSError, EOFError):
        return frozenset()
    return frozenset(match.decode("utf-8", "replace") for match in _LINE.findall(lines))


def _plain(text: str) -> str:
    """Ids are UUIDs; anything else must not make folders."""
    return re.sub(r"[^0-9A-Za-z.-]", "-", text)

"""The short text fields of a multipart form, for a record: a bounded scan, not a parser.

Only the first and the last 64 KiB are looked at (clients put the file before the fields or after them), files are
passed over, and a field counts only when the delimiter behind it was seen.
"""

import re
from typing import Final

_SCAN_BYTES: Final = 64 * 1024
_MAX_PARTS: Final = 32
_MAX_VALUE: Final = 1024
_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name="([^"\r\n]*)"', re.IGNORECASE)
_FILE = re.compile(rb"[;\s]filename\*?=", re.IGNORECASE)


def is_form(content_type: str) -> bool:
    return content_type.lower().lstrip().startswith("multipart/")


def fields(content_type: str, body: bytes) -> dict[str, str]:
    """Fields by name, the first of a name; empty when `content_type` is no multipart form."""
    if not is_form(content_type):
        return {}
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        return {}
    delimiter = b"\r\n--" + (boundary.group(1) or boundary.group(2)).encode()
    found = _scan(b"\r\n" + body[:_SCAN_BYTES], delimiter)
    if len(body) > _SCAN_BYTES:
        for name, value in _scan(body[-_SCAN_BYTES:], delimiter).items():
            found.setdefault(name, value)
    return found


def _scan(part_of_body: bytes, delimiter: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    # What stands before the first delimiter is no part, and what stands behind the last may be cut.
    for part in part_of_body.split(delimiter, _MAX_PARTS)[1:-1]:
        head, blank, value = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if blank and name and len(value) <= _MAX_VALUE and not _FILE.search(head):
            found.setdefault(name.group(1).decode("utf-8", "replace"), value.decode("utf-8", "replace"))
    return found

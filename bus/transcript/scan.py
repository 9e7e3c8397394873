"""Looking into JSON that is cut or too long to be decoded: bounded, linear, and content with what it finds.

Quotes inside of strings are escaped, so `"usage":` in the bytes is a key and never part of what a model said.
"""

import json
import re
from collections.abc import Collection
from typing import Any, Final

_SCAN_BYTES: Final = 64 * 1024
_TRIES: Final = 16  # objects of that name that are looked at, from the end
# Possessive, and an open string runs to the end: no input makes it go back.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.?)*+(?:"|\Z)|[{}\[\]:,]', re.DOTALL)
_decoder = json.JSONDecoder()


def top_level_texts(head: bytes, names: Collection[str]) -> dict[str, str]:
    """Fields of the outermost object that are strings, as far as the first 64 KiB show them."""
    wanted = {name.encode(): name for name in names}
    found: dict[str, str] = {}
    depth, key, after_colon = 0, b"", False
    for match in _TOKEN.finditer(head[:_SCAN_BYTES]):
        token = match.group()
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        elif depth == 1 and token == b":":
            after_colon = True
            continue
        elif depth == 1 and token[0] == 34 and after_colon:
            if key in wanted and (text := _text(token)) is not None:
                found[wanted[key]] = text
        elif depth == 1 and token[0] == 34:
            key = token[1:-1]
        after_colon = False
    return found


def top_level_value(json: bytes, name: str) -> tuple[int, int] | None:
    """Where the value of a field of the outermost object begins and ends; the last one of that name, as parsers do."""
    wanted, found = b'"%s"' % name.encode(), None
    depth, key, begin = 0, b"", -1
    for match in _TOKEN.finditer(json):
        token = match.group()
        if depth == 1 and token in b",}" and begin >= 0:
            found, begin = (begin, begin + len(json[begin : match.start()].rstrip())), -1
        if token in b"{[":
            depth += 1
        elif token in b"}]":
            depth -= 1
        elif depth == 1 and token == b":" and key == wanted:
            begin = match.end() + len(json[match.end() :]) - len(json[match.end() :].lstrip())
        elif depth == 1 and token[0] == 34 and begin < 0:
            key = token
    return found


def last_object(tail: bytes, name: str) -> dict[str, Any] | None:
    """The last object that is the value of a key `name` and has numbers in it, in the last 64 KiB."""
    text = tail[-_SCAN_BYTES:].decode("utf-8", "replace")
    key = re.compile(rf'"{re.escape(name)}"\s*:\s*(?=\{{)')
    starts = [match.end() for match in key.finditer(text)]
    for start in reversed(starts[-_TRIES:]):
        try:
            value, _ = _decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and any(isinstance(v, int | float) for v in value.values()):
            return value
    return None


def _text(token: bytes) -> str | None:
    try:
        value = json.loads(token)
    except ValueError:
        return None
    return value if isinstance(value, str) else None

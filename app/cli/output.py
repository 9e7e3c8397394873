"""What commands print: JSON for scripts, plain aligned columns for people. No colours, so that it pipes well."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

_WIDEST = 60  # characters of one column; longer values are cut, --json shows them whole


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")


def flush() -> None:
    """For what must be seen now although stdout is no terminal."""
    sys.stdout.flush()


def as_json(value: object) -> None:
    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """One line per row under a head; `-` for what is not set."""
    cells = [[column.replace("_", " ") for column in columns]]
    cells += [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        say("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def fields(row: Mapping[str, Any]) -> None:
    """One `name  value` line per field."""
    width = max(len(name) for name in row)
    for name, value in row.items():
        say(f"{name.replace('_', ' ').ljust(width)}  {_text(value)}")


def row(found: Mapping[str, Any], in_json: bool) -> None:
    """One object, in one of the two ways."""
    if in_json:
        as_json(found)
    else:
        fields(found)


def _cell(value: object) -> str:
    text = _text(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


def _text(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return "".join(ch if ch.isprintable() else "�" for ch in str(value))  # a name may hold terminal escapes

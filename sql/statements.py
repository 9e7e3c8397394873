"""Named queries out of `queries/<table>.sql`, one text for both databases.

    -- name: list_page
    -- Which tokens does a project have, newest first?
    SELECT id, hint
    FROM tokens
    WHERE TRUE
      AND project_id = :project_id  -- if project_id
    ORDER BY created_at_ms DESC, id DESC
    LIMIT :limit

A line that ends in `-- if x` is left out of the statement when the parameter `x` is None, so that a planner sees
only the filters that are asked for. `<table>.postgres.sql` replaces single statements by name. Parameters are
`:name`; casts (`::`), quoted text and comments are left alone. An array slice with a name in it (`a[:n]`) is not.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

QUERIES = Path(__file__).with_name("queries")
_NAME = re.compile(r"^-- name: *(\w+) *$", re.MULTILINE)
_OPTIONAL = re.compile(r"-- if (\w+)[ \t]*$")
_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | /\*.*?\*/ | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
      | :: | :(?P<name>[A-Za-z_]\w*) | % | ;""",
    re.VERBOSE | re.DOTALL,
)


class Statement(Struct, frozen=True):
    """A query in the form of each driver: `:name` for sqlite3, `%(name)s` for psycopg."""

    name: str
    sqlite: str
    postgres: str
    optional: tuple[str, ...] = ()
    """Parameters that take their line with them when they are None."""
    sources: tuple[str, str] = ("", "")
    """As written, for SQLite and PostgreSQL."""

    @property
    def writes(self) -> bool:
        return not self.sqlite.startswith(("SELECT", "WITH", "EXPLAIN", "PRAGMA"))

    def given(self, params: Mapping[str, Any]) -> "Statement":
        """The statement without the lines whose parameter is None."""
        if not self.optional:
            return self
        return _without(self, frozenset(n for n in self.optional if params.get(n) is None))


class Statements:
    """The statements of one file as attributes."""

    def __init__(self, by_name: Mapping[str, Statement], overlaid: frozenset[str]) -> None:
        self._by_name = dict(by_name)
        self.overlaid = overlaid
        """Names that PostgreSQL has a text of its own for."""

    def __getattr__(self, name: str) -> Statement:
        try:
            return self._by_name[name]
        except KeyError:
            raise AttributeError(f"no query is named {name}") from None

    def __iter__(self) -> Iterator[Statement]:
        return iter(self._by_name.values())


def load(table: str, folder: Path = QUERIES) -> Statements:
    """Raises ValueError for a query without a question, a double name or an overlay of nothing."""
    base = _split(folder / f"{table}.sql")
    overlay_file = folder / f"{table}.postgres.sql"
    overlay = _split(overlay_file) if overlay_file.exists() else {}
    if strangers := overlay.keys() - base.keys():
        raise ValueError(f"{overlay_file.name}: {', '.join(sorted(strangers))} replaces nothing in {table}.sql")
    by_name = {name: compile_statement(f"{table}.{name}", text, overlay.get(name, text)) for name, text in base.items()}
    return Statements(by_name, frozenset(overlay))


def compile_statement(name: str, sqlite: str, postgres: str | None = None) -> Statement:
    """A statement out of text; the second text is for PostgreSQL when it differs."""
    postgres = sqlite if postgres is None else postgres
    optional = {found[1] for line in f"{sqlite}\n{postgres}".splitlines() if (found := _OPTIONAL.search(line))}
    return Statement(name, bare(sqlite), for_psycopg(postgres), tuple(sorted(optional)), (sqlite, postgres))


def bare(text: str) -> str:
    """Without comments."""
    return _rewrite(text, lambda token: token[0])


def for_psycopg(text: str) -> str:
    """`:name` becomes `%(name)s`; every `%` is doubled, in literals too, because psycopg looks for it there."""
    return _rewrite(text, lambda token: f"%({token['name']})s" if token["name"] else token[0].replace("%", "%%"))


def parameters(text: str) -> set[str]:
    """Names of the parameters in it."""
    return {token["name"] for token in _TOKEN.finditer(text) if token["name"]}


def split_script(script: str) -> list[str]:
    """The statements of a script, without comments."""
    pieces, start = [], 0
    for token in _TOKEN.finditer(script):
        if token[0] == ";":
            pieces.append(script[start : token.start()])
            start = token.end()
    return [text for piece in [*pieces, script[start:]] if (text := bare(piece))]


def _rewrite(text: str, of: Callable[[re.Match[str]], str]) -> str:
    return _TOKEN.sub(lambda token: " " if token[0].startswith(("--", "/*")) else of(token), text).strip()


@lru_cache(maxsize=4096)  # combinations of filters: a page of the admin asks for a handful
def _without(statement: Statement, absent: frozenset[str]) -> Statement:
    sqlite, postgres = (_drop_lines(source, absent) for source in statement.sources)
    return Statement(statement.name, bare(sqlite), for_psycopg(postgres))


def _drop_lines(source: str, absent: frozenset[str]) -> str:
    return "\n".join(
        line for line in source.splitlines() if not ((found := _OPTIONAL.search(line)) and found[1] in absent)
    )


def _split(file: Path) -> dict[str, str]:
    pieces = _NAME.split(file.read_text(encoding="utf-8"))
    texts: dict[str, str] = {}
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        if name in texts:
            raise ValueError(f"{file.name}: {name} is there twice")
        if not text.lstrip("\n").startswith("-- "):
            raise ValueError(f"{file.name}: {name} does not say what question it answers")
        texts[name] = text
    return texts

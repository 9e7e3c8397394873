"""Queries in files: what they become for each driver, and what is refused."""

import sqlite3
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sql.statements import QUERIES as FOLDER
from sql.statements import bare, compile_statement, for_psycopg, load, parameters, split_script

QUERY = "-- name: {}\n-- What?\nSELECT {}\n"

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
names = st.sampled_from(["a", "b_1", "now_ms", "A"])


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


# A piece of a SELECT list and what it must come back as, given the values of the parameters.
literals = text.map(lambda value: (_quoted(value), value))
bound = names.map(lambda name: (f"CAST(:{name} AS TEXT)", name))
sums = st.integers(1, 9).map(lambda n: (f"CAST(17%{n} AS TEXT)", str(17 % n)))
noise = st.one_of(
    text.filter(lambda value: "\n" not in value and "\r" not in value).map(lambda value: f" -- {value} :not_one\n"),
    text.map(lambda value: f" /* {value.replace('*', '').replace('/', '')} ' :nor_this */ "),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pieces=st.lists(st.one_of(literals, bound.map(lambda p: (*p, True)), sums, literals), min_size=1, max_size=6),
    comments=st.lists(noise, min_size=6, max_size=6),
    values=st.fixed_dictionaries(dict.fromkeys(("a", "b_1", "now_ms", "A"), text)),
)
def test_both_drivers_read_the_same_out_of_any_text(
    postgres_url: str, pieces: list[tuple], comments: list[str], values: dict[str, str]
) -> None:
    listed = ", ".join(f"{piece[0]}{comment}" for piece, comment in zip(pieces, comments, strict=False))
    statement = compile_statement("any", f"SELECT {listed}")
    expected = tuple(values[piece[1]] if len(piece) == 3 else piece[1] for piece in pieces)

    with psycopg.connect(postgres_url) as connection:
        from_postgres = connection.execute(statement.postgres.encode(), values).fetchone()
    from_sqlite = sqlite3.connect(":memory:").execute(statement.sqlite, values).fetchone()

    assert from_postgres == from_sqlite == expected
    assert parameters(statement.sqlite) == {piece[1] for piece in pieces if len(piece) == 3}


def test_casts_are_no_parameters() -> None:
    assert for_psycopg("SELECT :a::text, '{}'::json, x::int") == "SELECT %(a)s::text, '{}'::json, x::int"
    assert parameters("SELECT :a::text, b::now_ms") == {"a"}


def test_quoted_names_and_dollar_quotes_are_left_alone() -> None:
    assert for_psycopg('SELECT ":x", $$ :y $$, $t$ :z $$ $t$') == 'SELECT ":x", $$ :y $$, $t$ :z $$ $t$'


def test_a_line_goes_when_its_parameter_is_none() -> None:
    source = "SELECT 1\nWHERE TRUE\n  AND a = :a  -- if a\n  AND b = :b  -- if b"
    statement = compile_statement("list", source)

    assert statement.given({"a": 1, "b": 2}).sqlite.split() == bare(source).split()
    assert statement.given({"a": False, "b": None}).sqlite.split() == [
        "SELECT",
        "1",
        "WHERE",
        "TRUE",
        "AND",
        "a",
        "=",
        ":a",
    ]
    assert statement.given({}).postgres.split() == ["SELECT", "1", "WHERE", "TRUE"]


def test_a_statement_without_optional_lines_is_itself() -> None:
    statement = compile_statement("get", "SELECT :a")

    assert statement.given({}) is statement


@given(st.lists(text.map(_quoted), min_size=1, max_size=5))
def test_a_script_is_split_outside_of_quotes_only(literals: list[str]) -> None:
    script = ";\n-- a comment; with one more\n".join(f"SELECT {literal}" for literal in literals) + ";\n"

    assert split_script(script) == [f"SELECT {literal}" for literal in literals]


def test_an_overlay_replaces_by_name(tmp_path: Path) -> None:
    (tmp_path / "t.sql").write_text(QUERY.format("one", "1") + QUERY.format("two", "2"))
    (tmp_path / "t.postgres.sql").write_text(QUERY.format("two", "22"))

    statements = load("t", tmp_path)

    assert (statements.one.sqlite, statements.one.postgres) == ("SELECT 1", "SELECT 1")
    assert (statements.two.sqlite, statements.two.postgres) == ("SELECT 2", "SELECT 22")
    assert statements.overlaid == {"two"}


@pytest.mark.parametrize(
    ("base", "overlay", "reason"),
    [
        (QUERY.format("one", "1"), QUERY.format("other", "1"), "other replaces nothing"),
        (QUERY.format("one", "1") * 2, "", "one is there twice"),
        ("-- name: one\nSELECT 1\n", "", "what question"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, base: str, overlay: str, reason: str) -> None:
    (tmp_path / "t.sql").write_text(base)
    (tmp_path / "t.postgres.sql").write_text(overlay)

    with pytest.raises(ValueError, match=reason):
        load("t", tmp_path)


def test_what_differs_on_postgres_is_listed_here() -> None:
    tables = sorted(file.stem for file in FOLDER.glob("*.sql") if ".postgres" not in file.name)

    overlaid = {f"{table}.{name}" for table in tables for name in load(table).overlaid}

    assert overlaid == {
        "api_keys.for_projects",
        "changes.lock",
        "projects.names",
        "requests.insert",
        "rollups.add_names",
        "rollups.known_names",
        "schema_migrations.lock",
        "schema_migrations.table_exists",
    }


def test_an_unknown_query_is_an_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no query is named nonsense"):
        _ = load("projects").nonsense

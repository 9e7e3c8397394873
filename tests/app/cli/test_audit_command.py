"""`llm-proxy audit verify`: a chain that is whole, and one that somebody has been at."""

import sqlite3
from pathlib import Path

import pytest

from tests.support.llm_proxy import run, run_json


@pytest.fixture
def audited(folder: Path) -> Path:
    """A database with a few changes in its audit log."""
    run(folder, "setup", "--openai-key", "sk-a-key-1234567890", "--addr", "127.0.0.1:0")
    return folder


def at_the_log(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "data" / "llm-proxy.db") as database:
        assert database.execute(statement).rowcount == 1


def test_a_log_that_nobody_touched_is_whole(audited: Path) -> None:
    told = run_json(audited, "audit", "verify")

    assert told["rows"] >= 2
    assert told["broken_at"] is None
    assert run(audited, "audit", "verify").stdout == f"the audit log is whole: {told['rows']} rows\n"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET actor = 'nobody' WHERE seq = 2",
        "DELETE FROM audit_events WHERE seq = 2",
        "UPDATE audit_events SET seq = 99 WHERE seq = 2",
    ],
    ids=["altered", "removed", "put elsewhere"],
)
def test_a_row_that_somebody_has_been_at_is_found(audited: Path, statement: str) -> None:
    at_the_log(audited, statement)

    done = run(audited, "audit", "verify")

    assert done.returncode == 1
    assert done.stdout == "the audit log is broken at row 2: it was altered, removed or put elsewhere\n"


def test_without_a_database_it_says_what_to_run(folder: Path) -> None:
    done = run(folder, "audit", "verify")

    assert done.returncode != 0
    assert "llm-proxy" in done.stderr
    assert done.stderr.count("\n") == 1

"""Logs in processes of their own, as they really are written."""

import json
import subprocess
import sys

import pytest

from tests.support.source_tree import ROOT

SETUP = """
import logging, sys
from config.logs import dropped_lines, log, set_up_logs
from config.secret import Secret
from config.settings import Settings
set_up_logs(Settings(log_format=sys.argv[1], log_level="info"), "test")
logger = logging.getLogger("llm_proxy.test")
"""


def run(code: str, log_format: str = "json") -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SETUP + code, log_format],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stderr.splitlines()


def test_a_line_is_an_object_with_its_fields() -> None:
    (line,) = run("log(logger, logging.INFO, 'it happened', request_id='r1', count=3)")

    told = json.loads(line)

    assert told.pop("ts").endswith("Z")
    assert told == {
        "level": "info",
        "msg": "it happened",
        "service": "test",
        "logger": "llm_proxy.test",
        "request_id": "r1",
        "count": 3,
    }


def test_a_traceback_is_a_field_of_its_line() -> None:
    (line,) = run("try:\n    1 / 0\nexcept ZeroDivisionError:\n    logger.exception('failed %s', 'here')")

    told = json.loads(line)

    assert told["msg"] == "failed here"
    assert "ZeroDivisionError" in told["error"]


def test_lines_below_the_level_are_not_written() -> None:
    assert run("log(logger, logging.DEBUG, 'quiet')") == []


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_secret_comes_out_masked(log_format: str) -> None:
    lines = run("log(logger, logging.INFO, 'with', key=Secret('hunter2'), deep={'a': [Secret('hunter2')]})", log_format)

    assert "hunter2" not in "".join(lines)
    assert "********" in lines[0]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_field_does_not_begin_a_second_line(log_format: str) -> None:
    assert len(run(r"log(logger, logging.INFO, 'path', path='/a\n2026 ERROR forged')", log_format)) == 1


def test_half_a_character_does_not_cost_the_line() -> None:
    (line,) = run(r"log(logger, logging.INFO, 'path', path='/\udcff')")

    assert "dcff" in json.loads(line)["path"]


def test_all_lines_are_written_before_the_process_ends() -> None:
    lines = run("for n in range(2000): log(logger, logging.INFO, 'line', n=n)")

    assert [json.loads(line)["n"] for line in lines] == list(range(2000))


@pytest.mark.slow
def test_a_reader_that_is_gone_to_sleep_holds_nobody_up() -> None:
    code = SETUP + (
        "for n in range(30_000): log(logger, logging.INFO, 'x' * 200, n=n)\nprint(dropped_lines() > 0, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "json"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        told = process.stdout.readline()  # stderr is read by nobody

        assert told == "True\n"
        assert process.wait(timeout=60) == 0

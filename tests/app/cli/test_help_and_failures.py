"""What every command has in common: help with an example, one line for a failure, exit codes."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import typer

from app.cli.commands import cli
from tests.support.llm_proxy import run, run_process
from tests.support.proxy import ROOT


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(command, click.Group):
        return [leaf for name, child in command.commands.items() for leaf in _leaves(child, (*path, name))]
    return [path]


COMMANDS = _leaves(typer.main.get_command(cli))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...]) -> None:
    command = typer.main.get_command(cli)
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]

    text = command.get_help(click.Context(command))

    assert re.search(r"Examples?:\n", text)
    assert all(getattr(option, "help", None) for option in command.params if isinstance(option, click.Option))


def test_help_imports_nothing_heavy(folder: Path) -> None:
    """What makes a command line slow to answer is what it imports; the time itself is the bench's."""
    command = [sys.executable, "-X", "importtime", "-m", "app.cli.main", "--help"]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)

    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not imported & {"aiohttp", "aiosqlite", "cryptography", "granian", "httpx", "psycopg", "redis", "starlette"}


def test_the_version_is_the_packages(folder: Path) -> None:
    assert re.fullmatch(r"llm-proxy \d+\.\d+\.\d+\n", run_process(folder, "--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["serve"], "No such command 'serve'. Did you mean 'server'? Try `llm-proxy --help`."),
        (["server", "--port", "1"], "No such option '--port'."),
        (["server", "--workers", "0"], "Invalid value for '--workers'"),
        (["manage", "token", "create"], "Missing option '--project-id'."),
        (["manage", "token", "update", "x"], "nothing to change"),
        (["manage", "token", "revoke"], "give a token's id or --project-id"),
        (["manage", "project", "list"], "MANAGEMENT_TOKEN is not set"),
        (["chat", "hello"], "no token: give --token"),
        (["dispatcher"], "a separate dispatcher needs Redis"),
        (["dispatcher", "--backends", "file"], "FILE_EVENT_LOG: is required"),
        (["server"], "MANAGEMENT_TOKEN is not set"),
        (["server", "--env", "missing.env"], "missing.env: no such file"),
        (["server", "--addr", "8080"], "LISTEN_ADDR: '8080' is no address"),
        (["manage", "--manage-api-base-url", "nonsense", "--management-token", "x", "project", "list"], "http://"),
        (["chat", "hello", "--token", "x", "--proxy", "nonsense"], "http://"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_used_gets_one_line_and_exit_code_2(folder: Path, arguments: list[str], line: str) -> None:
    done = run(folder, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("llm-proxy: ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["manage", "project", "list", "--management-token", "x", "--manage-api-base-url", "http://127.0.0.1:9"],
        ["chat", "hello", "--token", "x", "--proxy", "http://127.0.0.1:9"],
    ],
    ids=" ".join,
)
def test_a_server_that_is_not_there_gets_one_line_and_exit_code_1(folder: Path, arguments: list[str]) -> None:
    done = run(folder, *arguments)

    assert (done.returncode, done.stdout) == (1, "")
    assert "127.0.0.1:9 does not answer" in done.stderr
    assert "start `llm-proxy server`" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_all_mistakes_in_the_settings_are_told_at_once(folder: Path) -> None:
    (folder / ".env").write_text("LISTEN_ADR=:1\nLLM_PROXY_WORKERS=many\nENCRYPTION_KEY=short\n")

    done = run(folder, "server")

    assert done.returncode == 2
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        "LISTEN_ADR",
        "LLM_PROXY_WORKERS",
        "ENCRYPTION_KEY",
    ]
    assert "did you mean LISTEN_ADDR?" in done.stderr


def test_output_that_nobody_reads_to_its_end_is_no_error(folder: Path) -> None:
    done = subprocess.run(
        f"{sys.executable} -m app.cli.main migrate status --json | true", shell=True, cwd=folder, capture_output=True
    )

    assert b"Traceback" not in done.stderr

"""`llm-proxy` as a user runs it: one command and its answer, or a whole server with all its children, in a folder."""

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import httpx

from app.cli.commands import run_command
from tests.support.waiting import eventually

COMMAND = str(Path(sys.executable).with_name("llm-proxy"))
_OURS = (
    "LLM_PROXY_",
    "MANAGEMENT_TOKEN",
    "ENCRYPTION_KEY",
    "DATA",
    "LISTEN",
    "ADMIN_UI",
    "LOG_",
    "OPENAI",
    "ANTHROPIC",
)


def clean_environment(**more: str) -> dict[str, str]:
    """The tests' own environment may hold settings of ours; a user's shell does not."""
    return {n: v for n, v in os.environ.items() if not n.startswith(_OURS)} | more


def run_process(folder: Path, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env=clean_environment(**environ),
    )


def run(folder: Path, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """A command in this very process, which saves most of its time; but `server`, which becomes another program."""
    if arguments[0] == "server":
        return run_process(folder, *arguments, stdin=stdin, **environ)
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, clean_environment(**environ), clear=True),
        mock.patch("sys.stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = run_command(arguments)
    return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())


def run_json(folder: Path, *arguments: str, **environ: str) -> Any:
    done = run(folder, *arguments, "--json", **environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@dataclass
class Server:
    """`llm-proxy server ...` in `folder`, its output in `folder/out` and `folder/err`."""

    folder: Path
    process: subprocess.Popen[bytes]
    known: set[int] = field(default_factory=set)

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def pids(self, name: str) -> list[int]:
        """Processes of one kind below the supervisor; for `proxy` Granian's main first, then its workers."""
        found = {pid: line for pid, line in processes().items() if f" _{name} {self.process.pid}" in line}
        self.known |= found.keys()
        return sorted(found, key=lambda pid: (parent_of(pid) != self.process.pid, pid))

    def stop(self, number: signal.Signals = signal.SIGTERM, within_s: float = 60) -> int:
        self.process.send_signal(number)
        return self.process.wait(within_s)


@contextmanager
def serving(folder: Path, *arguments: str, **environ: str) -> Iterator[Server]:
    environ = clean_environment(**{"LLM_PROXY_DATABASE_TIMEOUT_MS": "60000", **environ})
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen([COMMAND, "server", *arguments], cwd=folder, stdout=out, stderr=err, env=environ)
    server = Server(folder, process)
    try:
        yield server
    finally:
        process.kill()  # its children go with it
        process.wait(60)


@contextmanager
def demo(folder: Path, *arguments: str, **environ: str) -> Iterator["Demo"]:
    """The demo server on free ports, waited for."""
    environ = {"LISTEN_ADDR": "127.0.0.1:0", "ADMIN_UI_LISTEN_ADDR": "127.0.0.1:0", **environ}
    with serving(folder, "--demo", *arguments, **environ) as server:
        eventually(lambda: "try it" in server.out or server.process.poll() is not None)
        assert server.process.poll() is None, server.err
        yield Demo(server)


@dataclass
class Demo:
    server: Server

    def told(self, name: str) -> str:
        """A line of what the demo prints, without its name."""
        line = next(line for line in self.server.out.splitlines() if line.strip().startswith(name))
        return line.strip().removeprefix(name).strip()

    @property
    def proxy(self) -> str:
        return self.told("proxy").removesuffix("/v1")

    @property
    def admin(self) -> str:
        return self.told("admin").split()[0].removesuffix("/admin")

    @property
    def management_token(self) -> str:
        return self.told("admin").rsplit(" ", 1)[1]

    @property
    def token(self) -> str:
        state: dict[str, str] = json.loads((self.server.folder / ".run/demo.json").read_text())
        return state["token"]

    def recorded(self) -> set[str]:
        """Event ids in records.db."""
        path = self.server.folder / ".run" / "records.db"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60) as db:
            return {row[0] for row in db.execute("SELECT event_id FROM requests")}


_CLIENT = httpx.Client(timeout=60, trust_env=False)  # making one costs more than many calls


def is_ready(url: str) -> bool:
    try:
        return _CLIENT.get(f"{url}/ready").status_code == 200
    except httpx.HTTPError:
        return False


def processes() -> dict[int, str]:
    """Living processes and their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and is_alive(int(folder.name)):
            try:
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def memory_kib(pid: int) -> int:
    """Proportional set size: pages that processes share are counted once."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0

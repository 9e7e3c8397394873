"""The supervisor on real processes: small stand-ins that write their pid down and obey or ignore signals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.supervisor import restart_delay_s

_SUPERVISE = """
import json, os, sys
from app.supervisor import ChildSpec, Supervisor
from config.load import load_settings
from config.logs import set_up_logs
set_up_logs(load_settings(environ={}), "server")
specs = [ChildSpec(name=n, argv=(sys.executable, "-S", "-c", code, n), stop_share=share, once=once)
         for n, code, share, once in json.loads(sys.argv[1])]
sys.exit(Supervisor(specs, dict(os.environ), drain_s=float(sys.argv[2])).run())
"""
_NOTE = """
import os, signal, sys, time
def note(what):
    with open("notes", "a") as file: file.write(f"{what} {sys.argv[1]} {os.getpid()}\\n")
def leave(*_):
    note("end"); sys.exit(0)
signal.signal(signal.SIGTERM, leave)
"""
OBEYS = _NOTE + "note('start')\nwhile True: signal.pause()"
IGNORES = _NOTE + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nnote('start')\nwhile True: signal.pause()"
FORKS = _NOTE + "child = os.fork()\nnote('start')\nwhile True: signal.pause()"
FAILS = _NOTE + "note('start')\nsys.exit(1)"
REFUSES = _NOTE + "note('start')\nsys.exit(2)"
ENDS = _NOTE + "note('start')\nsys.exit(0)"


class Running:
    def __init__(self, folder: Path, *specs: tuple[str, str, float, bool], drain_s: float = 5) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SUPERVISE, json.dumps(specs), str(drain_s)],
            cwd=folder,
            stderr=subprocess.PIPE,
            text=True,
        )

    def notes(self, what: str) -> list[tuple[str, int]]:
        path = self.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[1], int(line.split()[2])) for line in lines if line.split()[0] == what]

    def pids(self, name: str) -> list[int]:
        return [pid for n, pid in self.notes("start") if n == name]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(*specs: tuple[str, str, float, bool], drain_s: float = 5) -> Running:
        running.append(Running(tmp_path, *specs, drain_s=drain_s))
        return running[-1]

    yield start
    for each in running:
        each.process.send_signal(signal.SIGTERM)
        try:
            each.process.communicate(timeout=1.5)
        except subprocess.TimeoutExpired:  # a second signal kills what ignores the first
            each.process.send_signal(signal.SIGTERM)
            each.process.communicate(timeout=60)


def until(condition: Callable[[], bool], deadline_s: float = 10) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_killed_child_is_back_at_once(supervise: Callable[..., Running]) -> None:
    server = supervise(("a", OBEYS, 1.0, False), ("b", OBEYS, 1.0, False))
    until(lambda: len(server.notes("start")) == 2)
    (other,) = server.pids("b")

    began = time.monotonic()
    os.kill(server.pids("a")[0], signal.SIGKILL)
    until(lambda: len(server.pids("a")) == 2)

    assert time.monotonic() - began < 5  # the longest backoff
    assert server.pids("b") == [other]


def test_what_a_killed_child_had_forked_dies_with_it(supervise: Callable[..., Running]) -> None:
    server = supervise(("a", FORKS, 1.0, False))
    until(lambda: len(server.pids("a")) == 2)  # it and its fork
    first = server.pids("a")

    os.kill(min(first), signal.SIGKILL)

    until(lambda: not any(is_alive(pid) for pid in first))


def test_a_child_that_dies_again_and_again_is_restarted_ever_more_slowly(supervise: Callable[..., Running]) -> None:
    server = supervise(("a", FAILS, 1.0, False))

    until(lambda: len(server.pids("a")) >= 4)

    assert server.process.poll() is None
    assert [restart_delay_s(n) for n in range(1, 6)] == [0.0, 0.1, 0.2, 0.4, 0.8]
    assert restart_delay_s(100_000) == 5.0


def test_a_child_that_refuses_its_configuration_stops_the_server(supervise: Callable[..., Running]) -> None:
    server = supervise(("good", OBEYS, 1.0, False), ("bad", REFUSES, 1.0, False))

    assert server.process.wait(60) == 2
    assert len(server.pids("bad")) == 1
    assert not any(is_alive(pid) for _, pid in server.notes("start"))


def test_a_child_that_has_nothing_more_to_do_is_not_restarted(supervise: Callable[..., Running]) -> None:
    server = supervise(("once", ENDS, 1.0, True), ("a", OBEYS, 1.0, False))
    until(lambda: len(server.notes("start")) == 2)

    os.kill(server.pids("a")[0], signal.SIGKILL)  # by the time it is back, the other one would be as well
    until(lambda: len(server.pids("a")) == 2)

    assert len(server.pids("once")) == 1
    assert server.stop() == 0


def test_it_stops_the_children_in_their_order_and_exits_0(supervise: Callable[..., Running]) -> None:
    server = supervise(("last", OBEYS, 1.0, False), ("first", OBEYS, 0.5, False), ("second", OBEYS, 0.7, False))
    until(lambda: len(server.notes("start")) == 3)

    assert server.stop() == 0

    assert [name for name, _ in server.notes("end")] == ["first", "second", "last"]


def test_a_child_that_does_not_stop_in_its_time_is_killed_and_the_next_one_still_has_its_own(
    supervise: Callable[..., Running],
) -> None:
    server = supervise(("stubborn", IGNORES, 0.5, False), ("last", OBEYS, 1.0, False), drain_s=1)
    until(lambda: len(server.notes("start")) == 2)

    began = time.monotonic()
    assert server.stop() == 0

    assert 0.5 <= time.monotonic() - began < 5
    assert [name for name, _ in server.notes("end")] == ["last"]
    assert not is_alive(server.pids("stubborn")[0])


@pytest.mark.slow
def test_a_second_signal_ends_the_drain(supervise: Callable[..., Running]) -> None:
    server = supervise(("stubborn", IGNORES, 1.0, False), drain_s=60)
    until(lambda: len(server.notes("start")) == 1)

    began = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    server.process.send_signal(signal.SIGTERM)  # one stop may come by two ways: this is the same one
    until(lambda: time.monotonic() - began > 1.2)
    assert server.process.poll() is None
    server.process.send_signal(signal.SIGTERM)

    assert server.process.wait(60) == 1
    assert not is_alive(server.pids("stubborn")[0])


def test_orphans_of_a_living_child_are_reaped(supervise: Callable[..., Running]) -> None:
    leaves_an_orphan = _NOTE + (
        "middle = os.fork()\n"
        "if middle == 0:\n"
        "    if os.fork() == 0: note('start'); os._exit(0)\n"
        "    os._exit(0)\n"
        "os.waitpid(middle, 0); note('start')\nwhile True: signal.pause()"
    )
    server = supervise(("a", leaves_an_orphan, 1.0, False))
    until(lambda: len(server.pids("a")) == 2)

    until(lambda: sum(Path(f"/proc/{pid}").exists() for pid in server.pids("a")) == 1)

"""Who preempts whom, as Linux tells it: on threads of a process of its own, as policies outlive a test."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such policy")

IMPORTS = """
import asyncio, os, threading
from app import precedence
from app.precedence import Precedence, step_back

NAMES = {os.SCHED_OTHER: "preempts", os.SCHED_BATCH: "stands back"}

def policy(thread=0):
    return NAMES[os.sched_getscheduler(thread)]

def helper():
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    return thread.native_id
"""


def told_by(script: str) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-c", IMPORTS + script], capture_output=True, text=True, timeout=60, check=True
    )
    return run.stdout.split("\n")[:-1]


def test_who_steps_back_takes_along_what_it_starts() -> None:
    assert told_by("step_back(); print(policy()); print(policy(helper()))") == ["stands back", "stands back"]


def test_a_late_loop_goes_before_its_helpers_until_it_is_on_time_again() -> None:
    script = """
first, precedence = helper(), Precedence()
precedence.was_late(0.001)
print(policy(first))
for _ in range(20):
    precedence.was_late(0.020)
print(policy(first), policy())
for _ in range(40):
    precedence.was_late(0)
print(policy(first), policy())
"""
    assert told_by(script) == ["preempts", "stands back preempts", "preempts preempts"]


def test_one_long_pause_is_no_load() -> None:
    script = """
first, precedence = helper(), Precedence()
for _ in range(20):
    precedence.was_late(0.0001)
precedence.was_late(0.004)
print(policy(first))
"""
    assert told_by(script) == ["preempts"]


def test_a_process_that_was_stopped_for_long_is_soon_as_it_was() -> None:
    script = """
first, precedence = helper(), Precedence()
precedence.was_late(3600)
for _ in range(5):
    precedence.was_late(0.0001)
print(policy(first))
"""
    assert told_by(script) == ["preempts"]


def test_the_lateness_is_that_of_the_running_loop() -> None:
    script = """
import time

async def main():
    first, kept = helper(), Precedence()
    keeping = asyncio.create_task(kept.keep())
    async with asyncio.timeout(30):
        while not kept.is_loop_first:
            time.sleep(0.02)  # a loop that is always at work
            await asyncio.sleep(0)
        print(policy(first))
        while kept.is_loop_first:
            await asyncio.sleep(0.01)
        print(policy(first))
    keeping.cancel()

asyncio.run(main())
"""
    assert told_by(script) == ["stands back", "preempts"]


def test_where_it_is_forbidden_everything_goes_on() -> None:
    script = """
def refuses(*_):
    raise PermissionError("seccomp")

os.sched_setscheduler = refuses
precedence = Precedence()
helper()
step_back()
for _ in range(20):
    precedence.was_late(0.020)
print(precedence.is_loop_first)
"""
    assert told_by(script) == ["True"]

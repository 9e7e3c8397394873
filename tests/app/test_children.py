import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline(), flush=True)
child.wait()
"""
_CHILD = """
import signal, sys, app.children as children
if {no_prctl}: children._prctl = lambda *_: False
children._WATCH_PARENT_S = 0.01
children.die_with_parent()
print("up", flush=True)
while True: signal.pause()
"""


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("no_prctl", [False, True])
def test_a_child_dies_with_its_killed_parent(no_prctl: bool) -> None:
    """With the kernel's help, and without it, as on macOS."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, _CHILD.format(no_prctl=no_prctl)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline().split()[0])
    assert _is_running(child)

    parent.kill()
    parent.communicate()

    end = time.monotonic() + 5
    while _is_running(child):
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            pytest.fail("the child outlived its parent")
        time.sleep(0.01)


def test_a_child_whose_parent_is_gone_already_exits_at_once() -> None:
    code = "import app.children as c; c.die_with_parent(1 << 30); print('still here')"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (1, "")


_FORKING = """
import multiprocessing, signal, time, app.children as children
{act}
signal.signal(signal.SIGTERM, lambda *_: None)
context = multiprocessing.get_context("fork")
for _ in range(30):
    child = context.Process(target=time.sleep, args=(30,))
    child.start()
    child.terminate()
    child.join(1)
    print(child.exitcode)
    child.kill()
"""


def test_a_forked_child_that_is_stopped_while_it_starts_does_not_inherit_its_parents_deafness() -> None:
    code = _FORKING.format(act="children.forked_children_stop_by_default()")

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout.split() == [str(-signal.SIGTERM)] * 30, done.stderr

"""What a newcomer gets from `make run`: everything up at once, on this machine alone, without any key."""

import json
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.support.llm_proxy import Demo, demo, is_alive, memory_kib
from tests.support.waiting import eventually

_PAGE_UP_S = 5.0
_MEMORY_KIB = 300 * 1024
ROOT = Path(__file__).resolve().parents[2]


def _paste(curl: str) -> httpx.Response:
    """Runs a printed curl line as a shell would split it."""
    words = iter(shlex.split(curl))
    assert [next(words), next(words)] == ["curl", "-s"]
    url, headers, body = next(words), {}, ""
    for flag in words:
        value = next(words)
        if flag == "-H":
            name, _, text = value.partition(": ")
            headers[name] = text
        else:
            assert flag == "-d"
            body = value
    return httpx.post(url, headers=headers, content=body, timeout=60, trust_env=False)


def _requests(running: Demo) -> list[tuple[str, str, int, int]]:
    path = running.server.folder / ".run" / "records.db"
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60) as db:
        return db.execute("SELECT provider, end_user, status, streamed FROM requests").fetchall()


def test_make_run_is_the_demo_server() -> None:
    done = subprocess.run(["make", "-n", "run"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert "llm-proxy server --demo" in done.stdout


@pytest.mark.slow
def test_everything_that_is_printed_is_true(tmp_path: Path) -> None:
    with demo(tmp_path, "--no-demo") as running:
        answer = _paste(running.told("try it"))
        assert answer.status_code == 200
        assert 'You asked: "hello".' in answer.json()["choices"][0]["message"]["content"]

        assert httpx.get(f"{running.admin}/admin", follow_redirects=True, trust_env=False).status_code == 200
        headers = {"Authorization": f"Bearer {running.management_token}"}
        projects = httpx.get(f"{running.proxy}/manage/projects", headers=headers, trust_env=False).json()
        assert "demo" in [project["name"] for project in projects]

        assert running.told("data").startswith(str(tmp_path / ".run"))
        for name in ("demo.env", "demo.json", "llm-proxy.db"):
            assert (tmp_path / ".run" / name).stat().st_mode & 0o077 == 0

        eventually(lambda: len(_requests(running)) == 1)
        assert running.server.stop(signal.SIGINT) == 0


@pytest.mark.slow
def test_the_second_start_is_quick_and_knows_what_the_first_one_made(tmp_path: Path) -> None:
    with demo(tmp_path, "--no-demo") as first:
        before = (first.token, first.management_token)
        assert first.server.stop() == 0

    began = time.monotonic()
    with demo(tmp_path, "--no-demo") as second:
        took = time.monotonic() - began

        assert (second.token, second.management_token) == before
        assert _paste(second.told("try it")).status_code == 200
        assert second.server.stop() == 0
    assert took < _PAGE_UP_S or took < 12 * _importing_s(), f"{took:.1f} s"


@pytest.mark.slow
def test_a_taken_port_gives_the_next_free_one_and_says_so(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with demo(tmp_path, "--no-demo", LISTEN_ADDR=f"127.0.0.1:{port}") as running:
            assert f"port {port} is taken, using " in running.server.out
            assert running.proxy != f"http://127.0.0.1:{port}"
            assert _paste(running.told("try it")).status_code == 200


@pytest.mark.slow
def test_its_traffic_fills_the_pages_with_a_bit_of_everything(tmp_path: Path) -> None:
    with demo(tmp_path) as running:
        eventually(lambda: len(_requests(running)) >= 25)
        rows = _requests(running)

        assert {provider for provider, *_ in rows} >= {"openai", "anthropic"}
        assert len({user for _, user, *_ in rows if user}) > 3
        assert {streamed for *_, streamed in rows} == {0, 1}
        assert any(status == 200 for *_, status, _ in rows)
        eventually(lambda: any(status >= 400 for *_, status, _ in _requests(running)))
        assert running.server.stop(signal.SIGINT) == 0


@pytest.mark.slow
def test_a_real_key_takes_the_place_of_the_demo_provider_and_gets_no_demo_traffic(tmp_path: Path) -> None:
    with demo(tmp_path, OPENAI_API_KEY="sk-real-key-of-somebody-1234") as running:
        state = json.loads((tmp_path / ".run/demo.json").read_text())
        assert state["simulated"] == ["anthropic"]

        eventually(lambda: len(_requests(running)) >= 5)
        assert {provider for provider, *_ in _requests(running)} == {"anthropic"}


@pytest.mark.slow
def test_everything_together_is_small_when_idle(tmp_path: Path) -> None:
    with demo(tmp_path, "--no-demo") as running:
        server = running.server
        assert _paste(running.told("try it")).status_code == 200
        httpx.get(f"{running.admin}/admin/login", trust_env=False)

        pids = {
            "supervisor": [server.process.pid],
            **{name: server.pids(name) for name in ("proxy", "keeper", "admin", "demo")},
        }
        used = {name: sum(memory_kib(pid) for pid in found) for name, found in pids.items()}

        assert all(used.values())
        assert sum(used.values()) < _MEMORY_KIB, used


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-9", "-TERM"])
def test_no_process_stays_when_the_server_is_gone(tmp_path: Path, name: str) -> None:

    with demo(tmp_path, "--no-demo") as running:
        server = running.server
        pids = [pid for kind in ("proxy", "keeper", "admin", "demo") for pid in server.pids(kind)]
        assert len(pids) == 5

        subprocess.run(["kill", name, str(server.process.pid)], check=True)
        server.process.wait(60)

        eventually(lambda: not any(is_alive(pid) for pid in pids))


def _importing_s() -> float:
    """How long this machine, as busy as it is just now, takes to import what a worker consists of (0.8 s when idle)."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import app.main, admin.api.routes"], check=True)
    return time.monotonic() - began

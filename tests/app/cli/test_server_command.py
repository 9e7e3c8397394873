"""`llm-proxy server` as an operator starts it: what it refuses, what it serves, how it stops."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.ports import any_free
from config.secret import Secret
from config.settings import Settings
from sql import migrate
from sql.stores import open_stores
from tests.support.llm_proxy import COMMAND, Server, clean_environment, is_alive, is_ready, run_process, serving
from tests.support.postgres import PostgresServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow
TOKEN = "management-token-of-the-tests"


@pytest.fixture
def ports() -> dict[str, str]:
    return {
        "LISTEN_ADDR": str(any_free("127.0.0.1")),
        "ADMIN_UI_LISTEN_ADDR": str(any_free("127.0.0.1")),
        "MANAGEMENT_TOKEN": TOKEN,
    }


@pytest.fixture
def proxy(ports: dict[str, str]) -> str:
    return f"http://{ports['LISTEN_ADDR']}"


@pytest.fixture
def serve(folder: Path, ports: dict[str, str], proxy: str) -> Iterator[Server]:
    """A plain server that is ready."""
    with serving(folder, **ports) as server:
        eventually(lambda: is_ready(proxy))
        yield server


def _get(url: str) -> int:
    """The status; 0 when nobody answers."""
    try:
        return httpx.get(url, timeout=60, trust_env=False).status_code
    except httpx.HTTPError:
        return 0


def test_it_serves_proxy_manage_admin_and_health_and_stops_with_0(
    serve: Server, proxy: str, ports: dict[str, str]
) -> None:
    admin = f"http://{ports['ADMIN_UI_LISTEN_ADDR']}"
    eventually(lambda: is_ready(admin))

    assert _get(f"{proxy}/health") == 200
    assert _get(f"{proxy}/metrics") == 200
    assert _get(f"{proxy}/v1/models") == 401
    assert _get(f"{proxy}/manage/projects") == 401
    assert _get(f"{admin}/admin/") in (200, 303)
    children = [pid for name in ("proxy", "keeper", "admin") for pid in serve.pids(name)]
    assert len(children) == 4  # the proxy is two: Granian's main and its worker

    assert serve.stop() == 0

    assert not any(is_alive(pid) for pid in children)
    assert "Traceback" not in serve.err


def test_a_second_server_on_the_same_port_is_refused_with_one_line(
    serve: Server, folder: Path, ports: dict[str, str]
) -> None:
    done = run_process(folder, "server", **ports)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"llm-proxy: cannot listen on {ports['LISTEN_ADDR']} (Address already in use); stop what")


def test_a_second_server_on_the_same_data_is_refused_with_one_line(
    serve: Server, folder: Path, ports: dict[str, str]
) -> None:
    elsewhere = {**ports, "LISTEN_ADDR": "127.0.0.1:0", "ADMIN_UI_LISTEN_ADDR": "127.0.0.1:0"}

    done = run_process(folder, "server", **elsewhere)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"a server with pid {serve.process.pid} already uses {folder}/data" in line


def test_parts_can_be_left_out_and_metrics_be_moved(folder: Path, ports: dict[str, str], proxy: str) -> None:
    metrics = str(any_free("127.0.0.1"))
    with serving(folder, "--no-admin", "--no-keeper", **ports, METRICS_ADDR=metrics) as server:
        eventually(lambda: is_ready(proxy))
        eventually(lambda: _get(f"http://{metrics}/metrics/prometheus") == 200)

        assert _get(f"{proxy}/metrics") == 404
        assert _get(f"{proxy}/manage/projects") == 401
        assert server.pids("admin") == server.pids("keeper") == []
        assert server.stop() == 0


def test_a_data_folder_that_cannot_be_written_is_one_line(folder: Path, ports: dict[str, str]) -> None:
    (folder / "file").write_text("")

    done = run_process(folder, "server", "--data-dir", "file/data", **ports)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot be written (Not a directory); free some room, correct its permissions or set DATA_DIR" in line


def test_a_disk_without_room_is_one_line(folder: Path, ports: dict[str, str]) -> None:
    """No file may grow at all: as near to a full disk as a test comes without root."""
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 0; exec {COMMAND} server"],
        cwd=folder,
        env=clean_environment(**ports, PYTHONDONTWRITEBYTECODE="1"),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot be written (File too large)" in line


def test_what_only_a_worker_finds_out_stops_the_server_with_its_line(folder: Path, ports: dict[str, str]) -> None:
    done = run_process(folder, "server", **ports, LLM_PROXY_PROCESSORS="Authenticate,Nonsense")

    assert done.returncode == 2
    assert "Nonsense" in next(line for line in done.stderr.splitlines() if line.startswith("llm-proxy: "))
    assert "Traceback" not in done.stderr


def test_an_unknown_backend_stops_the_server_with_its_line(folder: Path, ports: dict[str, str]) -> None:
    done = run_process(folder, "server", **ports, DISPATCHER_BACKENDS="database,nonsense")

    assert done.returncode == 2
    assert "unknown backend 'nonsense'" in done.stderr


def test_a_folder_with_an_app_of_its_own_does_no_harm(folder: Path, ports: dict[str, str], proxy: str) -> None:
    for name in ("app", "config", "sql", "admin"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise SystemExit('imported the wrong package')")

    with serving(folder, **ports) as server:
        eventually(lambda: is_ready(proxy))

        assert server.stop() == 0


def test_a_running_reply_is_finished_before_the_server_stops(folder: Path, ports: dict[str, str], proxy: str) -> None:
    with serving(folder, **ports, LLM_PROXY_DRAIN_S="20") as server:
        eventually(lambda: is_ready(proxy))
        started, answers = threading.Event(), []

        def slow_body() -> Iterator[bytes]:
            yield b'{"name": '
            started.set()
            eventually(lambda: server.process.poll() is None and not is_ready(proxy))
            yield b'"late"}'

        def call() -> None:
            headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
            reply = httpx.post(
                f"{proxy}/manage/projects", content=slow_body(), headers=headers, timeout=60, trust_env=False
            )
            answers.append(reply.status_code)

        client = threading.Thread(target=call)
        client.start()
        assert started.wait(60)

        assert server.stop() == 0
        client.join(10)

    assert answers == [201]


def test_events_reach_the_file_also_over_the_bus_that_keeps_nothing(
    folder: Path, ports: dict[str, str], proxy: str
) -> None:
    environ = {**ports, "LLM_PROXY_EVENT_BUS": "in-memory", "FILE_EVENT_LOG": "events.jsonl"}
    with serving(folder, "--no-admin", **environ) as server:
        eventually(lambda: is_ready(proxy))

        assert _get(f"{proxy}/v1/models?k=1") == 401
        eventually(lambda: '"/v1/models"' in (folder / "events.jsonl").read_text())

        assert not (folder / "data" / "bus.db").exists()
        assert server.stop() == 0


def test_what_was_recorded_last_is_delivered_before_the_server_has_stopped(
    folder: Path, ports: dict[str, str], proxy: str
) -> None:
    with serving(folder, "--no-admin", **ports, FILE_EVENT_LOG="events.jsonl") as server:
        eventually(lambda: is_ready(proxy))
        for _ in range(50):
            assert _get(f"{proxy}/v1/models") == 401

        assert server.stop() == 0

    assert len((folder / "events.jsonl").read_text().splitlines()) == 50
    assert '"left_undelivered":0' in server.err


def test_the_admin_alone_serves_and_refuses_a_taken_port(folder: Path, ports: dict[str, str]) -> None:
    listen = ports["ADMIN_UI_LISTEN_ADDR"]
    environ = {"MANAGEMENT_TOKEN": TOKEN}
    assert run_process(folder, "migrate", "up", **environ).returncode == 0

    alone = subprocess.Popen([COMMAND, "admin", "--listen", listen], cwd=folder, env=clean_environment(**environ))
    try:
        eventually(lambda: is_ready(f"http://{listen}"))
        second = run_process(folder, "admin", "--listen", listen, **environ)
        alone.terminate()
        assert alone.wait(60) == 0
    finally:
        alone.kill()

    assert second.returncode == 1
    assert "set ADMIN_UI_LISTEN_ADDR (or --listen)" in second.stderr


def test_without_its_postgres_it_serves_what_it_can_and_says_so(
    folder: Path, ports: dict[str, str], proxy: str
) -> None:
    away = "postgresql://nobody:secret@127.0.0.1:9/none"
    with serving(folder, **ports, DB_DRIVER="postgres", DATABASE_URL=away) as server:
        eventually(lambda: _get(f"{proxy}/live") == 200)

        assert _get(f"{proxy}/ready") == 503
        assert "starting without it, /ready says 503 until it answers" in server.err
        assert "secret" not in server.err
        assert server.stop() == 0


def test_an_old_schema_on_postgres_is_refused_until_it_is_brought_up(
    folder: Path, ports: dict[str, str], proxy: str, postgres_server: PostgresServer
) -> None:
    url = postgres_server.create_database()
    environ = {**ports, "DB_DRIVER": "postgres", "DATABASE_URL": url}

    refused = run_process(folder, "server", **environ)
    assert refused.returncode == 1
    assert "run `llm-proxy migrate up`" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1

    assert run_process(folder, "migrate", "up", **environ).returncode == 0
    with serving(folder, **environ) as server:
        eventually(lambda: is_ready(proxy))
        assert server.stop() == 0
    postgres_server.drop_database(url)


async def test_a_schema_that_turns_out_old_when_postgres_is_back_stops_the_server(
    postgres_server: PostgresServer, folder: Path
) -> None:
    from app.cli.schema import prepare_when_it_answers
    from sql.errors import SchemaMismatch

    url = postgres_server.create_database()
    settings = Settings(data_dir=str(folder), db_driver="postgres", database_url=Secret(url))

    with pytest.raises(SchemaMismatch, match="migrate up"):
        await prepare_when_it_answers(settings)

    stores = open_stores(settings)
    await migrate.up(stores)
    await stores.close()
    await prepare_when_it_answers(settings)
    postgres_server.drop_database(url)


def test_workers_killed_at_the_same_moment_and_again_are_all_back_below_the_same_main(
    folder: Path, ports: dict[str, str], proxy: str
) -> None:
    with serving(folder, "--workers", "2", "--no-admin", "--no-keeper", **ports) as server:
        eventually(lambda: is_ready(proxy) and len(server.pids("proxy")) == 3)
        main, *_ = server.pids("proxy")

        for _ in range(3):
            workers = server.pids("proxy")[1:]
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            eventually(lambda gone=workers: _are_replaced(server, gone) and is_ready(proxy))  # type: ignore[misc]

        assert server.pids("proxy")[0] == main
        assert server.stop() == 0


def _are_replaced(server: Server, gone: list[int]) -> bool:
    return len(server.pids("proxy")) == 3 and not set(server.pids("proxy")) & set(gone)

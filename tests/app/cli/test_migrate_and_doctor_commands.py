import json
import os
import socket
from pathlib import Path
from typing import Any

from sql.migrate import migrations
from tests.support.llm_proxy import Demo, run, run_json

NEWEST = max(migration.version for migration in migrations())


def _doctor(folder: Path, code: int, **environ: str) -> dict[str, Any]:
    done = run(folder, "doctor", "--json", **environ)
    assert done.returncode == code, done.stdout
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


def test_migrations_go_up_and_down_and_are_told(folder: Path) -> None:
    assert run(folder, "migrate", "status").returncode == 1
    assert run_json(folder, "migrate", "version") == {"version": 0}

    assert len(run_json(folder, "migrate", "up")["applied"]) == len(migrations())
    assert run(folder, "migrate", "up").stdout == "nothing to do\n"
    assert run_json(folder, "migrate", "version") == {"version": NEWEST}
    rows = run_json(folder, "migrate", "status")
    assert [row["version"] for row in rows] == [migration.version for migration in migrations()]

    assert len(run_json(folder, "migrate", "down", "--to", "1", "--yes")["taken_back"]) == len(migrations()) - 1
    assert run_json(folder, "migrate", "version") == {"version": 1}


def test_taking_back_is_not_done_without_a_yes(folder: Path) -> None:
    run(folder, "migrate", "up")

    done = run(folder, "migrate", "down", "--to", "0", stdin="n\n")

    assert done.returncode == 130
    assert run_json(folder, "migrate", "version") == {"version": NEWEST}


def test_the_database_may_lie_elsewhere(folder: Path) -> None:
    run(folder, "migrate", "up", "--db", "elsewhere.db")

    assert (folder / "elsewhere.db").exists()
    assert not (folder / "data").exists()


def test_after_setup_the_doctor_finds_nothing_wrong(folder: Path) -> None:
    run(folder, "setup", "--openai-key", "sk-a-key-1234567890", "--addr", "127.0.0.1:0")

    found = _doctor(folder, 0, ADMIN_UI_LISTEN_ADDR="127.0.0.1:0")

    assert {name for name, finding in found.items() if finding["state"] != "ok"} == {"keeper"}


def test_before_setup_the_doctor_says_to_run_it(folder: Path) -> None:
    found = _doctor(folder, 1)

    assert found["access"]["state"] == "fail" or found["access"]["advice"] == "run `llm-proxy setup`"
    assert found["database"]["state"] == "warn"


def test_a_running_server_is_seen_with_its_keeper(folder: Path, running_demo: Demo) -> None:
    environ = {
        "DATA_DIR": str(running_demo.server.folder / ".run"),
        "LISTEN_ADDR": running_demo.proxy.removeprefix("http://"),
        "MANAGEMENT_TOKEN": "x",
    }

    found = _doctor(folder, 1, **environ)

    assert found["keeper"]["text"].startswith("runs; ")
    assert "in use" in found["port"]["text"] or "free" in found["port"]["text"]
    assert "ENCRYPTION_KEY" in found["keys"]["text"]  # the demo's was not given


def test_settings_that_cannot_be_used_are_the_doctors_only_finding(folder: Path) -> None:
    found = run(folder, "doctor", "--json", LLM_PROXY_WORKER="3")

    assert found.returncode == 2
    (finding,) = json.loads(found.stdout)
    assert finding["text"] == "LLM_PROXY_WORKER: unknown setting in the environment; did you mean LLM_PROXY_WORKERS?"


def test_names_without_effect_are_listed(folder: Path) -> None:
    (folder / ".env").write_text("MANAGEMENT_TOKEN=x\nREQUEST_TIMEOUT=30s\n")

    assert "REQUEST_TIMEOUT" in run(folder, "doctor").stdout


def test_a_management_token_of_before_is_not_forgotten(folder: Path) -> None:
    done = run(folder, "doctor", MANAGEMENT_TOKEN="x", MANAGEMENT_TOKEN_PREVIOUS="canary-of-before")

    assert "MANAGEMENT_TOKEN_PREVIOUS is still taken" in done.stdout
    assert "canary" not in done.stdout


def test_a_broken_providers_file_is_told_with_its_line(folder: Path) -> None:
    (folder / "providers.yaml").write_text("default_api: openai\napis:\n  openai:\n    base_url: nonsense\n")

    found = _doctor(folder, 1, API_CONFIG_PATH="providers.yaml", MANAGEMENT_TOKEN="x")

    assert found["providers"]["state"] == "fail"
    assert found["providers"]["text"].startswith("providers.yaml:")


def test_a_data_folder_that_is_a_file_is_told(folder: Path) -> None:
    (folder / "data").write_text("")

    found = _doctor(folder, 1, MANAGEMENT_TOKEN="x")

    assert "cannot be written" in found["data"]["text"]


def test_an_old_schema_is_told_with_what_to_run(folder: Path) -> None:
    run(folder, "migrate", "up")
    run(folder, "migrate", "down", "--to", "1", "--yes")

    found = _doctor(folder, 1, MANAGEMENT_TOKEN="x")

    assert "run `llm-proxy migrate up`" in found["schema"]["text"]


def test_a_port_that_somebody_else_has_is_noted(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        where = f"127.0.0.1:{taken.getsockname()[1]}"

        out = run(folder, "doctor", LISTEN_ADDR=where, MANAGEMENT_TOKEN="x", HOME=os.fspath(folder)).stdout

    assert f"{where} is in use (LISTEN_ADDR)" in out

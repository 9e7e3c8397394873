import json
import sqlite3
import stat
from pathlib import Path

from config.load import load_settings
from sql.sealing import Sealer, hash_token
from tests.support.llm_proxy import run, run_json, run_process

KEY = "sk-a-key-of-the-provider-1234"


def _rows(folder: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(folder / "data" / "llm-proxy.db") as db:
        return db.execute(query).fetchall()


def test_it_makes_secrets_a_database_a_project_and_a_token(folder: Path) -> None:
    done = run_process(
        folder, "setup", "--openai-key", KEY, "--project", "shop", "--duration", "60", "--max-requests", "5"
    )

    assert (done.returncode, done.stderr) == (0, "")
    token = next(word for word in done.stdout.split() if word.startswith("sk-"))
    assert done.stdout.count(f"token    {token}") == 1
    assert _rows(folder, "SELECT name, is_active FROM projects") == [("shop", 1)]
    (row,) = _rows(folder, "SELECT token_hash, max_requests, expires_at_ms - created_at_ms FROM tokens")
    assert row == (hash_token(token), 5, 60 * 60_000)


def test_only_its_owner_may_read_the_file_and_it_holds_what_the_server_needs(folder: Path) -> None:
    assert run(folder, "setup", "--openai-key", KEY, "--addr", "127.0.0.1:9999").returncode == 0

    settings = load_settings({}, folder / ".env")
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    assert settings.listen_addr == "127.0.0.1:9999"
    assert settings.management_token is not None
    assert len(settings.management_token.reveal()) >= 32
    assert settings.encryption_key is not None


def test_the_providers_key_is_stored_sealed(folder: Path) -> None:
    run(folder, "setup", "--openai-key", KEY)

    ((stored,),) = _rows(folder, "SELECT key FROM api_keys")
    assert isinstance(stored, str)
    assert KEY not in stored
    assert Sealer(load_settings({}, folder / ".env").encryption_key).unseal(stored).reveal() == KEY


def test_it_leaves_a_file_alone_that_is_there(folder: Path) -> None:
    (folder / ".env").write_text("LOG_LEVEL=debug\n")

    done = run(folder, "setup", "--openai-key", KEY)

    assert done.returncode == 1
    assert ".env is there already" in done.stderr
    assert (folder / ".env").read_text() == "LOG_LEVEL=debug\n"
    assert not (folder / "data").exists()


def test_force_makes_new_secrets_but_keeps_the_key_that_opens_what_is_stored(folder: Path) -> None:
    run(folder, "setup", "--openai-key", KEY)
    before = load_settings({}, folder / ".env")

    done = run(folder, "setup", "--openai-key", KEY, "--project", "second", "--force")

    after = load_settings({}, folder / ".env")
    assert done.returncode == 0
    assert after.encryption_key == before.encryption_key
    assert after.management_token != before.management_token


def test_without_a_terminal_it_asks_for_nothing(folder: Path) -> None:
    done = run(folder, "setup")

    assert done.returncode == 2
    assert "give --openai-key" in done.stderr
    assert not (folder / ".env").exists()


def test_a_key_can_come_from_stdin_and_the_answer_be_json(folder: Path) -> None:
    done = run(folder, "setup", "--openai-key", "-", "--json", stdin=f"{KEY}\n")

    made = json.loads(done.stdout)
    assert made["token"].startswith("sk-")
    assert made["token"] in made["curl"]
    assert KEY not in done.stdout


def test_a_key_of_another_provider_is_kept_for_that_one(folder: Path) -> None:
    made = run_json(folder, "setup", "--provider", "anthropic", "--provider-key", KEY)

    assert _rows(folder, "SELECT provider FROM api_keys") == [("anthropic",)]
    assert "/anthropic/v1/messages" in made["curl"]


def test_an_unknown_provider_is_refused_before_anything_is_written(folder: Path) -> None:
    done = run(folder, "setup", "--provider", "acme", "--provider-key", KEY)

    assert done.returncode == 2
    assert "--provider 'acme' is not configured; there are anthropic, azure" in done.stderr
    assert list(folder.iterdir()) == []


def test_skip_project_makes_only_the_file_and_the_database(folder: Path) -> None:
    assert run(folder, "setup", "--skip-project").returncode == 0

    assert _rows(folder, "SELECT COUNT(*) FROM projects") == [(0,)]

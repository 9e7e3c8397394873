"""`llm-proxy manage policy` against a real server, with an editor that writes what the test says."""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.llm_proxy import Demo, run, run_json
from tests.support.waiting import eventually

RIGHT = """\
limits:
- {name: cli share, measure: requests, most: 60000, window: 1m}
- {name: cli budget, measure: cost, most: 250000, window: month, time_zone: Europe/Berlin}
"""
WRONG = """\
limits:
  - name: cli share
    measure: requests
    most: 1.5
    window: 1x
"""


@pytest.fixture(autouse=True)
def left_as_it_was(running_demo: Demo) -> Iterator[None]:
    """The server is that of all tests of commands."""
    yield
    headers = {"Authorization": f"Bearer {running_demo.management_token}"}
    with httpx.Client(base_url=running_demo.proxy, headers=headers) as client:
        version = client.get("/manage/policy").json()["version"]
        client.put("/manage/policy", json={"version": version, "document": {}}).raise_for_status()


@pytest.fixture
def drafts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where drafts lie while they are edited."""
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def editor(folder: Path, *texts: str) -> str:
    """Writes the first text when it is opened first, and so on; then it fails."""
    (folder / "texts.json").write_text(json.dumps(texts))
    (folder / "editor.py").write_text(
        "import json, pathlib, sys\n"
        "kept = pathlib.Path(__file__).with_name('texts.json')\n"
        "text, *left = json.loads(kept.read_text()) or sys.exit(3)\n"
        "kept.write_text(json.dumps(left))\n"
        "pathlib.Path(sys.argv[1]).write_text(text)\n"
    )
    return f"{shlex.quote(sys.executable)} {shlex.quote(str(folder / 'editor.py'))}"


def test_a_document_is_checked_set_and_shown(folder: Path, manage_environment: dict[str, str]) -> None:
    (folder / "p.yaml").write_text(RIGHT)

    checked = run(folder, "manage", "policy", "check", "p.yaml", **manage_environment)
    made = run(folder, "manage", "policy", "set", "p.yaml", **manage_environment)
    shown = run(folder, "manage", "policy", "show", **manage_environment)

    assert checked.stdout == "right: 2 limits, 0 rules for models\nadded: cli share, cli budget\n"
    assert made.stdout.endswith(" by management_token; workers follow within a second\n")
    assert shown.stdout.partition("\n")[2] == RIGHT
    assert shown.stdout.startswith("# version ")


def test_what_is_shown_can_be_set_again(folder: Path, manage_environment: dict[str, str]) -> None:
    made = run(folder, "manage", "policy", "set", "-", "--json", stdin=RIGHT, **manage_environment)
    shown = run(folder, "manage", "policy", "show", **manage_environment)

    again = run(folder, "manage", "policy", "set", "-", "--json", stdin=shown.stdout, **manage_environment)

    assert json.loads(again.stdout) == json.loads(made.stdout)


def test_mistakes_are_told_with_their_lines_and_nothing_is_changed(
    folder: Path, manage_environment: dict[str, str]
) -> None:
    (folder / "p.yaml").write_text(WRONG)
    before = run_json(folder, "manage", "policy", "show", **manage_environment)

    for command in ("check", "set"):
        done = run(folder, "manage", "policy", command, "p.yaml", **manage_environment)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("llm-proxy: p.yaml:2: limits[0]: ")
        assert "none of 1s to 24h" in done.stderr

    assert run_json(folder, "manage", "policy", "show", **manage_environment) == before


def test_a_file_that_is_no_yaml_or_not_there_is_one_clear_line(
    folder: Path, manage_environment: dict[str, str]
) -> None:
    no_yaml = run(folder, "manage", "policy", "check", "-", stdin="limits: [", **manage_environment)
    missing = run(folder, "manage", "policy", "set", "nothing.yaml", **manage_environment)

    assert (no_yaml.returncode, no_yaml.stderr.startswith("llm-proxy: stdin:1: not YAML: ")) == (2, True)
    assert (missing.returncode, missing.stderr.startswith("llm-proxy: nothing.yaml cannot be read ")) == (1, True)


def test_a_version_that_is_no_longer_there_is_refused(folder: Path, manage_environment: dict[str, str]) -> None:
    made = run(folder, "manage", "policy", "set", "-", "--json", stdin=RIGHT, **manage_environment)
    old = str(json.loads(made.stdout)["version"] - 1)

    late = run(folder, "manage", "policy", "set", "-", "--version", old, stdin="{}", **manage_environment)

    assert (late.returncode, "read it again" in late.stderr) == (1, True)


def test_an_editor_gets_it_back_until_it_is_right(drafts: Path, manage_environment: dict[str, str]) -> None:
    chosen = editor(drafts, "limits: [", WRONG, RIGHT)

    done = run(drafts, "manage", "policy", "edit", stdin="y\n\n", **manage_environment, EDITOR=chosen)

    assert done.returncode == 0, done.stderr
    assert done.stderr.index("line:1: not YAML") < done.stderr.index("line:2: limits[0]: ")
    shown = run_json(drafts, "manage", "policy", "show", **manage_environment)
    assert [limit["name"] for limit in shown["document"]["limits"]] == ["cli share", "cli budget"]
    assert list(drafts.glob("llm-proxy-policy-*")) == []


@pytest.mark.parametrize("answer", ["n\n", ""])
def test_who_gives_up_keeps_the_text(drafts: Path, manage_environment: dict[str, str], answer: str) -> None:
    done = run(drafts, "manage", "policy", "edit", stdin=answer, **manage_environment, VISUAL=editor(drafts, WRONG))

    [kept] = drafts.glob("llm-proxy-policy-*")
    assert (done.returncode, kept.read_text(), kept.stat().st_mode & 0o777) == (1, WRONG, 0o600)
    assert f"your text is kept in {kept}" in done.stderr


def test_an_editor_that_changes_nothing_changes_nothing(drafts: Path, manage_environment: dict[str, str]) -> None:
    run(drafts, "manage", "policy", "set", "-", stdin=RIGHT, **manage_environment)
    before = run_json(drafts, "manage", "policy", "show", **manage_environment)

    done = run(drafts, "manage", "policy", "edit", **manage_environment, EDITOR="true")
    failed = run(drafts, "manage", "policy", "edit", **manage_environment, EDITOR="no-such-editor")

    assert (done.returncode, done.stderr) == (0, "llm-proxy: nothing was changed\n")
    assert (failed.returncode, "'no-such-editor' cannot be started" in failed.stderr) == (1, True)
    assert run_json(drafts, "manage", "policy", "show", **manage_environment) == before


@pytest.mark.slow
def test_workers_follow_what_is_set(folder: Path, manage_environment: dict[str, str], running_demo: Demo) -> None:
    key = ("--openai-key", "sk-provider-0123456789")
    project = run_json(folder, "manage", "project", "create", "--name", "cli limited", *key, **manage_environment)
    token = run_json(folder, "manage", "token", "create", "--project-id", project["id"], **manage_environment)

    def refusal() -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token['token']}"}
        body = {"model": "o-none", "messages": [{"role": "user", "content": "hello"}]}
        reply = httpx.post(f"{running_demo.proxy}/v1/chat/completions", headers=headers, json=body)
        return reply.status_code, reply.json().get("code", "")

    def set_policy(**document: object) -> None:
        done = run(folder, "manage", "policy", "set", "-", stdin=json.dumps(document), **manage_environment)
        assert done.returncode == 0, done.stderr

    ours = {"project": ["cli limited"]}
    budget = {"name": "cli nothing", "measure": "cost", "most": 0, "window": "day", "only": ours}
    set_policy(models=[{"allow": ["gpt-*"], "only": ours}])
    eventually(lambda: refusal() == (403, "model_not_allowed"))
    set_policy(limits=[budget])
    eventually(lambda: refusal() == (429, "budget_exceeded"))
    set_policy(limits=[{**budget, "mode": "shadow"}])
    eventually(lambda: refusal() == (401, ""))  # of the provider, which knows no such key

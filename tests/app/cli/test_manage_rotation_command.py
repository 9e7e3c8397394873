"""`llm-proxy manage`: secrets that change, tokens with scopes, and why something was done."""

from pathlib import Path

import httpx
import pytest

from tests.support.llm_proxy import Demo, run, run_json

pytestmark = pytest.mark.slow


def test_a_token_and_an_api_key_are_rotated(
    folder: Path, manage_environment: dict[str, str], running_demo: Demo
) -> None:
    made = run_json(
        folder,
        *("manage", "project", "create", "--name", "cli rotation", "--openai-key", "sk-x-123456789"),
        **manage_environment,
    )
    of_project = ("--project-id", made["id"])
    token = run_json(folder, "manage", "token", "create", *of_project, "--never", **manage_environment)

    rotated = run_json(folder, "manage", "token", "rotate", token["id"], "--grace", "1h", **manage_environment)
    [old] = run_json(folder, "manage", "api-key", "list", *of_project, **manage_environment)
    done = run(
        folder,
        *("manage", "--reason", "Leck im Büro", "api-key", "rotate", old["id"], *of_project, "--json"),
        stdin="sk-brand-new-key-1234567890\n",
        **manage_environment,
    )

    assert rotated["id"] == token["id"]
    assert rotated["token"] != token["token"]
    assert done.returncode == 0, done.stderr
    after = {row["id"]: row for row in run_json(folder, "manage", "api-key", "list", *of_project, **manage_environment)}
    new = after[old["id"]]["replaced_by"]
    assert (after[old["id"]]["weight"], after[new]["weight"]) == (0, 1)
    undone = run_json(folder, "manage", "api-key", "undo-rotation", new, *of_project, **manage_environment)
    assert (undone["id"], undone["weight"]) == (old["id"], 1)
    headers = {"Authorization": f"Bearer {running_demo.management_token}"}
    reply = httpx.get(f"{running_demo.proxy}/manage/audit?action=api_key.rotate", headers=headers, timeout=60)
    told = reply.json()["events"]
    assert [event["reason"] for event in told] == ["Leck im Büro"]


def test_a_program_gets_a_token_with_scopes(folder: Path, manage_environment: dict[str, str]) -> None:
    tokens = ("manage", "management-tokens")
    made = run_json(folder, *tokens, "create", "--name", "cli-ci", "--scope", "read", **manage_environment)
    program = {**manage_environment, "MANAGEMENT_TOKEN": made["token"]}

    assert run(folder, "manage", "project", "list", **program).returncode == 0
    refused = run(folder, "manage", "project", "create", "--name", "no", **program)
    assert (refused.returncode, "needs the scope projects" in refused.stderr) == (1, True)

    rotated = run_json(folder, *tokens, "rotate", made["id"], "--grace", "0", **manage_environment)
    assert run(folder, "manage", "project", "list", **program).returncode == 1
    assert run(folder, "manage", "project", "list", **{**program, "MANAGEMENT_TOKEN": rotated["token"]}).returncode == 0

    run_json(folder, *tokens, "revoke", made["id"], **manage_environment)
    [listed] = [row for row in run_json(folder, *tokens, "list", **manage_environment) if row["id"] == made["id"]]
    assert (listed["is_active"], listed["scopes"]) == (False, ["read"])

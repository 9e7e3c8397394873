"""`llm-proxy manage` against a real server."""

from pathlib import Path

from tests.support.llm_proxy import Demo, run, run_json


def _project(folder: Path, environ: dict[str, str], name: str) -> str:
    made = run_json(folder, "manage", "project", "create", "--name", name, "--openai-key", "sk-x-123456789", **environ)
    return str(made["id"])


def test_a_project_is_created_shown_changed_and_listed(folder: Path, manage_environment: dict[str, str]) -> None:
    project_id = _project(folder, manage_environment, "cli life")

    shown = run_json(folder, "manage", "project", "get", project_id, **manage_environment)
    assert (shown["name"], shown["is_active"]) == ("cli life", True)
    assert "123456789" not in str(shown)

    changed = run_json(
        folder,
        *("manage", "project", "update", project_id, "--inactive", "--recording", "off", "--on-disconnect", "drain"),
        **manage_environment,
    )
    assert (changed["is_active"], changed["recording"], changed["on_disconnect"]) == (False, "off", "drain")

    rows = run_json(folder, "manage", "project", "list", "--search", "cli life", "--inactive", **manage_environment)
    assert [row["id"] for row in rows] == [project_id]
    assert run_json(folder, "manage", "project", "list", "--active", "--search", "cli li", **manage_environment) == []


def test_a_key_from_stdin_stays_out_of_the_command_line(folder: Path, manage_environment: dict[str, str]) -> None:
    project_id = _project(folder, manage_environment, "cli stdin")

    done = run(
        folder,
        *("manage", "project", "update", project_id, "--openai-key", "-", "--json"),
        stdin="sk-new-key-abcdefgh\n",
        **manage_environment,
    )

    assert done.returncode == 0
    assert "fgh" in done.stdout
    assert "sk-new-key-abcdefgh" not in done.stdout


def test_a_token_is_created_shown_changed_and_revoked(folder: Path, manage_environment: dict[str, str]) -> None:
    project_id = _project(folder, manage_environment, "cli tokens")
    token = ("manage", "token")

    made = run_json(
        folder,
        *(*token, "generate", "--project-id", project_id, "--duration", "60", "--max-requests", "3"),
        **manage_environment,
    )
    assert made["token"].startswith("sk-")
    assert made["max_requests"] == 3

    changed = run_json(
        folder,
        *(*token, "update", made["id"], "--max-requests", "0", "--expires-at", "never"),
        **manage_environment,
    )
    assert (changed["max_requests"], changed["expires_at"]) == (None, None)

    assert run_json(folder, *token, "revoke", made["id"], **manage_environment) == {
        "id": made["id"],
        "is_active": False,
    }
    shown = run_json(folder, *token, "get", made["id"], **manage_environment)
    assert shown["is_active"] is False
    listed = run_json(folder, *token, "list", "--project-id", project_id, "--revoked", **manage_environment)
    assert [row["id"] for row in listed] == [made["id"]]


def test_all_tokens_of_a_project_are_revoked_at_once(folder: Path, manage_environment: dict[str, str]) -> None:
    project_id = _project(folder, manage_environment, "cli revoke all")
    for _ in range(2):
        run_json(folder, "manage", "token", "create", "--project-id", project_id, "--never", **manage_environment)

    done = run_json(folder, "manage", "token", "revoke", "--project-id", project_id, **manage_environment)

    assert done["revoked_count"] == 2


def test_a_list_goes_on_over_all_pages_and_stops_at_its_limit(
    folder: Path, manage_environment: dict[str, str], running_demo: Demo
) -> None:
    everything = run_json(folder, "manage", "project", "list", **manage_environment)
    two = run_json(folder, "manage", "project", "list", "--limit", "2", **manage_environment)

    assert len(everything) >= 4
    assert two == everything[:2]


def test_people_get_columns(folder: Path, manage_environment: dict[str, str]) -> None:
    done = run(folder, "manage", "project", "list", "--search", "demo", **manage_environment)

    head, *rows = done.stdout.splitlines()
    assert head.split() == ["id", "name", "is", "active", "recording", "api", "key", "created", "at"]
    assert len(rows) == 1
    assert rows[0].split()[1:4] == ["demo", "yes", "full"]


def test_the_url_and_the_token_may_stand_before_or_after_the_subcommand(folder: Path, running_demo: Demo) -> None:
    where = ("--manage-api-base-url", running_demo.proxy, "--management-token", running_demo.management_token)

    before = run_json(folder, "manage", *where, "project", "list")
    after = run_json(folder, "manage", "project", "list", *where)

    assert before == after != []


def test_refusals_of_the_server_are_told_in_its_words(folder: Path, manage_environment: dict[str, str]) -> None:
    def refused(*arguments: str, **more: str) -> tuple[int, str]:
        done = run(folder, "manage", *arguments, **{**manage_environment, **more})
        return done.returncode, done.stderr

    assert refused("project", "get", "nothing") == (1, "llm-proxy: 404: project not found\n")
    assert refused("token", "get", "../../health")[1].startswith("llm-proxy: 404: ")
    code, line = refused("project", "create", "--name", "demo")
    assert (code, line.startswith("llm-proxy: 409: ")) == (1, True)
    code, line = refused("project", "list", MANAGEMENT_TOKEN="wrong")
    assert (code, "is it the server's MANAGEMENT_TOKEN?" in line) == (1, True)


def test_usage_is_shown_as_a_table_and_as_json(folder: Path, manage_environment: dict[str, str]) -> None:
    run(folder, "manage", "token", "list", **manage_environment)

    shown = run(folder, "manage", "usage", "--by", "model", "--every", "hour", "--since", "2h", **manage_environment)
    told = run_json(folder, "manage", "usage", "--project-id", "nobody", **manage_environment)

    assert (shown.returncode, shown.stdout.split()[:3]) == (0, ["start", "name", "requests"])
    assert told == []

"""The policy in an editor: again until it is right or given up. What was written is never thrown away unasked."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import typer

from app.cli.failures import Failure, say
from app.cli.manage_api import ManageApi, Refused
from config.errors import ConfigError
from config.load import raw_environment
from config.policy_text import PolicyText, as_yaml

_EXAMPLE: Final = """\
# limits:
#   - {name: fair share, measure: requests, most: 600, window: 1m, per: [token]}
#   - {name: team budget, measure: cost, most: 250, window: month, time_zone: Europe/Berlin, only: {project: [shop]}}
# models:
#   - {only: {project: [shop]}, allow: [gpt-*]}
# unlisted_models: allow
"""


def edit_policy(api: ManageApi, path: str) -> dict[str, Any] | None:
    """The policy as it is now; None when nothing was changed."""
    view = api.call("GET", path)
    draft = _draft(view)
    try:
        made: dict[str, Any] | None = _until_right(api, path, view, draft)
    except Failure as error:
        raise Failure(f"{error}; nothing was changed, and your text is kept in {draft}") from error
    draft.unlink()
    return made


def _until_right(api: ManageApi, path: str, view: dict[str, Any], draft: Path) -> Any:
    while True:
        _open_editor(draft)
        try:
            text = PolicyText("line", _read(draft))
        except ConfigError as error:
            mistakes = error.mistakes
        else:
            if text.document == view["document"]:
                return None
            try:
                return api.call("PUT", path, {"version": view["version"], "document": text.document})
            except Refused as error:
                if error.status != 422:
                    raise
                mistakes = [text.located(*fault) for fault in error.faults.items()] or [str(error)]
        for mistake in mistakes:
            say(mistake)
        if not _again():
            raise Failure("the policy was not right")


def _draft(view: dict[str, Any]) -> Path:
    handle, name = tempfile.mkstemp(prefix="llm-proxy-policy-", suffix=".yaml")  # for its owner's eyes only
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"# The policy, version {view['version']}. Comments are not kept. The README tells of each field.\n")
        file.write(as_yaml(view["document"]) or _EXAMPLE)
    return Path(name)


def _open_editor(draft: Path) -> None:
    chosen = raw_environment(frozenset({"VISUAL", "EDITOR"}))
    editor = chosen.get("VISUAL") or chosen.get("EDITOR") or "vi"
    try:
        command = [*shlex.split(editor), str(draft)]
        code = subprocess.run(command, check=False).returncode  # noqa: S603 - of the user's own choice, and no shell
    except (OSError, ValueError) as error:
        raise Failure(f"the editor {editor!r} cannot be started ({error}); set EDITOR") from error
    if code:
        raise Failure(f"the editor ended with code {code}")


def _read(draft: Path) -> str:
    try:
        return draft.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"what the editor left cannot be read ({error})") from error


def _again() -> bool:
    try:
        return typer.confirm("Go on editing?", default=True, err=True)
    except typer.Abort:  # nobody is there to ask
        return False

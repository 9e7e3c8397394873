"""`llm-proxy manage policy ...`: limits, budgets and allowed models, as one document."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli import output
from app.cli.failures import FAILED, Failure, say
from app.cli.manage_options import BaseUrl, ManagementToken, api
from app.cli.options import AsJson

PATH = "/manage/policy"
policy = typer.Typer(
    help="Limits, budgets and allowed models, as one document.", no_args_is_help=True, rich_markup_mode=None
)

File = Annotated[str, typer.Argument(help="YAML or JSON; - reads it from stdin.")]


@policy.command()
def show(
    context: typer.Context,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Show the policy as YAML, which `set` takes; with --json also its version.

    \b
    Example:
      llm-proxy manage policy show > policy.yaml
    """
    from config.policy_text import as_yaml

    view = api(context, base_url, management_token).call("GET", PATH)
    if as_json:
        output.as_json(view)
    else:
        output.say(f"# {_standing(view)}")
        output.say(as_yaml(view["document"]).rstrip("\n"))


@policy.command()
def check(
    context: typer.Context,
    file: File,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Tell all mistakes of a document, or what it would change; change nothing.

    \b
    Example:
      llm-proxy manage policy check policy.yaml
    """
    found = _sent(context, file, base_url, management_token, "POST", f"{PATH}/check", {})
    if as_json:
        output.as_json(found)
        return
    output.say(f"right: {found['limits']} limits, {found['models']} rules for models")
    for what, names in found["changes"].items():
        if names:
            output.say(f"{what}: {', '.join(names)}")


@policy.command("set")
def set_policy(
    context: typer.Context,
    file: File,
    version: Annotated[
        int | None, typer.Option("--version", min=0, help="Only in the place of this version [default: of any].")
    ] = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Put a document in the place of the policy; workers follow within a second.

    \b
    Examples:
      llm-proxy manage policy set policy.yaml
      llm-proxy manage --reason "more for the shop" policy set policy.yaml --version 3
    """
    if version is None:
        version = api(context, base_url, management_token).call("GET", PATH)["version"]
    view = _sent(context, file, base_url, management_token, "PUT", PATH, {"version": version})
    _show(view, as_json)


@policy.command()
def edit(
    context: typer.Context,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Open the policy in $VISUAL or $EDITOR, and put what comes back in its place.

    \b
    Example:
      EDITOR=nano llm-proxy manage policy edit
    """
    from app.cli.policy_editing import edit_policy

    view = edit_policy(api(context, base_url, management_token), PATH)
    if view is None:
        say("nothing was changed")
    else:
        _show(view, as_json)


def _sent(
    context: typer.Context,
    file: str,
    base_url: str | None,
    management_token: str | None,
    method: str,
    path: str,
    more: dict[str, Any],
) -> Any:
    """The answer to a document; a wrong one ends the command, each mistake on a line of its own."""
    from app.cli.manage_api import Refused
    from config.policy_text import PolicyText

    text = PolicyText("stdin" if file == "-" else file, _read(file))
    try:
        return api(context, base_url, management_token).call(method, path, {**more, "document": text.document})
    except Refused as error:
        if error.status != 422 or not error.faults:
            raise
        for place, fault in error.faults.items():
            say(text.located(place, fault))
        raise typer.Exit(FAILED) from error


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read ({error})") from error


def _show(view: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.as_json(view)
    else:
        output.say(f"{_standing(view)}; workers follow within a second")


def _standing(view: dict[str, Any]) -> str:
    if not view["version"]:
        return "there is no policy yet: nothing is limited"
    return f"version {view['version']}, {view['updated_at']} by {view['updated_by']}"

"""`llm-proxy manage prices ...`: what counts instead of the price list that is shipped."""

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from app.cli import output
from app.cli.manage_options import BaseUrl, ManagementToken, api
from app.cli.moments import moment_ms, told
from app.cli.options import AsJson

PATH = "/manage/prices"
_COLUMNS = ("id", "provider", "model", "prices", "from", "until", "updated_by")
prices = typer.Typer(help="Prices that count instead of the shipped list.", no_args_is_help=True, rich_markup_mode=None)


@prices.command("list")
def list_prices(
    context: typer.Context,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """List them, in US dollars per million model tokens.

    \b
    Example:
      llm-proxy manage prices list
    """
    rows = api(context, base_url, management_token).call("GET", PATH)
    if as_json:
        output.as_json(rows)
    else:
        output.table([{**row, "prices": _on_one_line(row["prices"])} for row in rows], _COLUMNS)


@prices.command("set")
def set_price(
    context: typer.Context,
    provider: Annotated[str, typer.Argument(help="As the providers file names it.")],
    model: Annotated[str, typer.Argument(help="A name or a glob.")],
    costs: Annotated[list[str], typer.Argument(metavar="CLASS=DOLLARS...", help="Per million model tokens.")],
    since: Annotated[str | None, typer.Option("--from", help="When it begins, 2026-12-01 [default: ever].")] = None,
    until: Annotated[str | None, typer.Option("--until", help="When it ends [default: never].")] = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Set a price, in the place of the one for the same models from the same time on.

    \b
    Example:
      llm-proxy manage prices set openai "gpt-4.1*" input=1.80 cache_read=0.45 output=7.20 --from 2026-12-01
    """
    body: dict[str, Any] = {"provider": provider, "model": model, "prices": dict(map(_cost, costs))}
    body |= {name: _moment(text) for name, text in (("from", since), ("until", until)) if text}
    row = api(context, base_url, management_token).call("PUT", PATH, body)
    if as_json:
        output.as_json(row)
    else:
        output.fields({**row, "prices": _on_one_line(row["prices"])})


@prices.command()
def delete(
    context: typer.Context,
    price_id: Annotated[str, typer.Argument(help="See `list`.")],
    base_url: BaseUrl = None,
    management_token: ManagementToken = None,
) -> None:
    """Remove a price; the shipped list counts again.

    \b
    Example:
      llm-proxy manage prices delete 0198c0de-...
    """
    api(context, base_url, management_token).call("DELETE", f"{PATH}/{quote(price_id, safe='')}")
    output.say(f"price {price_id} is gone")


def _cost(text: str) -> tuple[str, float]:
    name, _, dollars = text.partition("=")
    try:
        return name, float(dollars)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no price; write input=2.50") from error


def _moment(text: str) -> str:
    return told(moment_ms(text, int(time.time() * 1000)))


def _on_one_line(costs: dict[str, float]) -> str:
    return " ".join(f"{name}={cost:g}" for name, cost in costs.items())

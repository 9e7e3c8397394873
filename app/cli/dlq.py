"""`llm-proxy dlq`: dead letters, read by a person, who then gives them back to their backend or deletes them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer

from app.cli import output
from app.cli.failures import MISCONFIGURED, Failure, say
from app.cli.options import AsJson, EnvFile, settings_with

if TYPE_CHECKING:
    from bus.dead_letters import DeadLetters, Letter

T = TypeVar("T")
_COLUMNS = ("id", "event_id", "reason", "attempts", "last_at", "bytes", "detail")
dlq = typer.Typer(
    help="Dead letters: list, show, replay and purge what a backend would never take.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Backend = Annotated[str, typer.Option("--backend", help="Whose letters, as DISPATCHER_BACKENDS names it.")]
Reason = Annotated[str, typer.Option("--reason", help="Only those: permanent, crash_loop or undecodable.")]
All = Annotated[bool, typer.Option("--all", help="All letters, or with --reason all of that reason.")]
LetterId = Annotated[str | None, typer.Argument(metavar="[LETTER]", help="The letter's id as `list` shows it.")]


@dlq.command("list")
def list_letters(
    backend: Backend,
    reason: Reason = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    before: Annotated[str, typer.Option("--before", help="Go on where a list ended: its `next`.")] = "",
    env: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first.

    \b
    Example:
      llm-proxy dlq list --backend webhook --reason permanent
    """
    from bus.dead_letters import full_page

    page = _ask(lambda bus: full_page(bus, backend, reason=reason, before=before, limit=limit), env)
    rows = [_row(letter) for letter in page.letters]
    if as_json:
        output.as_json({"letters": rows, "next": page.next})
        return
    output.table(rows, _COLUMNS)
    if page.next:
        output.say(f"\nthere are more: --before {page.next}")


@dlq.command()
def show(
    letter_id: Annotated[str, typer.Argument(metavar="LETTER", help="The letter's id as `list` shows it.")],
    backend: Backend,
    bodies: Annotated[bool, typer.Option("--bodies", help="What was said, too.")] = False,
    env: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one letter and its event.

    \b
    Example:
      llm-proxy dlq show 1795280328223-0 --backend webhook
    """
    from bus.dead_letters import readable_event

    opened = _ask(lambda bus: bus.letter(backend, letter_id), env)
    if opened is None:
        raise Failure(f"{backend} has no dead letter {letter_id}; `llm-proxy dlq list` shows what there is")
    event = readable_event(opened.payload, with_bodies=bodies)
    if as_json:
        output.as_json({**_row(opened.letter), "event": event})
    else:
        output.fields(_row(opened.letter))
        output.say()
        output.as_json(event)


@dlq.command()
def replay(
    backend: Backend,
    letter_id: LetterId = None,
    everything: All = False,
    reason: Reason = "",
    env: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Give letters' events back to their backend, and to no other, under their own event ids.

    \b
    Examples:
      llm-proxy dlq replay 1795280328223-0 --backend webhook
      llm-proxy dlq replay --all --reason permanent --backend webhook
    """
    from bus.dead_letters import in_chunks

    ids = _chosen(backend, letter_id, everything, reason, env)
    done = _ask(lambda bus: in_chunks(lambda some: bus.replay_letters(backend, some), ids), env)
    _tell(backend, "replayed", done, letter_id, as_json)


@dlq.command()
def purge(
    backend: Backend,
    letter_id: LetterId = None,
    everything: All = False,
    reason: Reason = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    env: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Delete letters for good; the ledger counts them.

    \b
    Example:
      llm-proxy dlq purge --all --reason undecodable --backend webhook
    """
    from bus.dead_letters import in_chunks

    ids = _chosen(backend, letter_id, everything, reason, env)
    if ids and not yes:
        _ask_to_type(str(len(ids)), f"{len(ids)} dead letters of {backend} will be gone for good; type their number")
    done = _ask(lambda bus: in_chunks(lambda some: bus.purge_letters(backend, some), ids), env)
    _tell(backend, "purged", done, letter_id, as_json)


@dlq.command()
def forget(
    backend: Backend,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    env: EnvFile = None,
    as_json: AsJson = False,
) -> None:
    """Give up a backend that is not configured any more: what waits for it, and its letters.

    Until then the bus keeps every event for it, and with LLM_PROXY_SPOOL_RETAIN=delivered the spools do, too.

    \b
    Example:
      llm-proxy dlq forget --backend lunary
    """
    from dispatcher.main import backend_names

    if backend in backend_names(settings_with({}, env)):
        raise Failure(f"{backend} is configured; take it out of DISPATCHER_BACKENDS and restart first")
    if not yes:
        _ask_to_type(backend, f"all that waits for {backend} and its dead letters will be gone; type its name")
    if not _ask(lambda bus: bus.forget_group(backend), env):
        raise Failure(f"the bus knows of no backend {backend}; `llm-proxy ledger` shows which there are")
    if as_json:
        output.as_json({"backend": backend, "forgotten": True})
    else:
        output.say(f"{backend} is forgotten")


def _ask(act: "Callable[[DeadLetters], Awaitable[T]]", env: Any) -> T:
    from bus.dead_letters import open_dead_letters

    async def ask() -> T:
        async with open_dead_letters(settings_with({}, env)) as bus:
            return await act(bus)

    return asyncio.run(ask())


def _chosen(backend: str, letter_id: str | None, everything: bool, reason: str, env: Any) -> list[str]:
    """What there is now; what dies later is left alone."""
    from bus.dead_letters import newest_letters

    if (letter_id is None) != everything or (letter_id is not None and reason):
        say("give a letter's id, or --all (and perhaps --reason), one of the two")
        raise typer.Exit(MISCONFIGURED)
    if letter_id is not None:
        return [letter_id]

    return [letter.id for letter in _ask(lambda bus: newest_letters(bus, backend, reason), env)]


def _ask_to_type(wanted: str, question: str) -> None:
    if typer.prompt(question).strip() != wanted:
        raise Failure("that is not it; nothing was done")


def _tell(backend: str, what: str, done: int, letter_id: str | None, as_json: bool) -> None:
    if letter_id is not None and not done:
        raise Failure(f"{backend} has no dead letter {letter_id}; `llm-proxy dlq list` shows what there is")
    if as_json:
        output.as_json({"backend": backend, what: done})
    else:
        output.say(f"{done} letters of {backend} {what}")


def _row(letter: "Letter") -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(letter)
    return {**row, "first_at": _moment(letter.first_ms), "last_at": _moment(letter.last_ms)}


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

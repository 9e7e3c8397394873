"""`llm-proxy chat`: talks to a model through the proxy, to see that everything works, or just to talk."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import output
from app.cli.options import AsJson

if TYPE_CHECKING:
    from app.cli.chat_call import Conversation


def chat(
    message: Annotated[str | None, typer.Argument(help="What to say; without it a conversation begins.")] = None,
    proxy: Annotated[str | None, typer.Option("--proxy", help="The proxy's URL [env: PROXY_URL].")] = None,
    token: Annotated[str | None, typer.Option("--token", help="A token of ours [env: PROXY_TOKEN].")] = None,
    model: Annotated[str | None, typer.Option("--model", help="[env: MODEL; default: gpt-4.1-mini]")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, max=2, help="0 is sober, 2 is wild.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="Longest answer.")] = None,
    system: Annotated[str | None, typer.Option("--system", help="A system prompt.")] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Print the answer as it comes.")] = True,
    as_json: AsJson = False,
) -> None:
    """Talk to a model through the proxy (OpenAI's chat completions).

    \b
    Examples:
      llm-proxy chat "hello" --token sk-...
      llm-proxy chat --model gpt-4.1 --system "Answer in one word."     (a conversation; Ctrl-D ends it)
    """
    from app.cli.chat_call import Conversation, connect

    conversation = Conversation(
        connect(proxy, token),
        model=model,
        system=system,
        options={"temperature": temperature, "max_completion_tokens": max_tokens},
    )
    if message is None and not sys.stdin.isatty():
        message = sys.stdin.read().strip()
    if message is not None:
        _say(conversation, message, stream=stream, as_json=as_json)
        return
    output.say("Ctrl-D ends the conversation.")
    while (line := _read_line()) is not None:
        if line:
            _say(conversation, line, stream=stream, as_json=as_json)


def _say(conversation: "Conversation", message: str, *, stream: bool, as_json: bool) -> None:
    if as_json:
        output.as_json(conversation.ask_whole(message))
        return
    for piece in conversation.ask(message) if stream else [conversation.ask_text(message)]:
        sys.stdout.write(piece)
        sys.stdout.flush()
    output.say()


def _read_line() -> str | None:
    try:
        return input("> ").strip()
    except EOFError:
        output.say()
        return None

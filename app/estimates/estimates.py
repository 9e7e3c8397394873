"""Usage where a stream has told none, or only its beginning: counted from the text that passed, and marked so.

What the provider told before the cut counts first: Anthropic's first event has what went in.
"""

import asyncio
import logging
from typing import Final, NamedTuple
from urllib.parse import unquote

from msgspec import structs

from app.estimates.said import answered, asked
from app.estimates.tokenizer import Tokenizer
from bus.event import Usage, UsageSource
from bus.transcript.reply import ReplyFacts
from config.logs import log

logger = logging.getLogger(__name__)

KEPT_BYTES: Final = 32 * 1024
"""Of a stream, for counting; what is longer is taken to go on as it began."""
MAX_CALL_BYTES: Final = 256 * 1024
_BYTES_PER_TOKEN: Final = 4  # beyond that bound, and of a call that was not seen whole
_PATHS: Final = ("/chat/completions", "/completions", "/responses", "/messages", ":streamGenerateContent")


class Heard(NamedTuple):
    """A stream, as far as it is known."""

    told: ReplyFacts
    kept: bytes
    """Its first bytes."""
    size: int
    content_encoding: str
    call: bytes
    """The first bytes of the call."""
    call_size: int
    is_abandoned: bool
    """Its client left: the provider has worked all the same, even where no text had come yet."""


class Counted(NamedTuple):
    usage: Usage | None
    source: UsageSource


def told_by_provider(told: ReplyFacts) -> Counted:
    return Counted(told.usage, "provider" if told.usage is not None else "")


def is_enough(told: ReplyFacts, path: str) -> bool:
    """Whether nothing is missing that could be counted."""
    if not unquote(path).endswith(_PATHS):
        return True
    return told.usage is not None and (told.is_complete or told.usage.completion_tokens > 1)


class Estimates:
    def __init__(self) -> None:
        self._tokenizer = Tokenizer()

    def begin(self, heard: Heard) -> "asyncio.Future[Counted]":
        """In a thread, from now on. Never fails."""
        return asyncio.get_running_loop().run_in_executor(None, self._counted, heard)

    def _counted(self, heard: Heard) -> Counted:
        """What the provider told is all there is where counting fails, which is logged: no reply fails for it."""
        try:
            return self.count(heard)
        except Exception as error:
            log(logger, logging.ERROR, "the usage of a stream could not be estimated", error=repr(error))
            return told_by_provider(heard.told)

    def count(self, heard: Heard) -> Counted:
        """In a thread: milliseconds, the first time a second."""
        said, told = answered(heard.kept, heard.content_encoding), heard.told
        if not (said.visible or said.reasoning) and (told.is_complete or not heard.is_abandoned):
            return told_by_provider(told)  # an error, most likely: nothing was said that could be billed
        share = max(1.0, heard.size / len(heard.kept)) if heard.kept else 1.0
        visible, reasoning = (round(self._tokenizer.count(text) * share) for text in said)
        if told.usage is not None:
            visible = max(told.usage.output, visible)
            return Counted(structs.replace(told.usage, output=visible, reasoning=reasoning), "estimate")
        return Counted(Usage(input=self._prompt(heard), output=visible, reasoning=reasoning), "estimate")

    def _prompt(self, heard: Heard) -> int:
        if heard.call_size > min(MAX_CALL_BYTES, len(heard.call)):
            return heard.call_size // _BYTES_PER_TOKEN
        text, between = asked(heard.call)
        return self._tokenizer.count(text) + between

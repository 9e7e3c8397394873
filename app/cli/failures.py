"""How a command fails: one clear line on stderr (one per mistake), never a traceback.

Exit codes: 0 done, 1 it did not work, 2 the configuration or the command line is wrong, 130 interrupted.
"""

import sys
import traceback

from config.errors import ConfigError
from config.load import raw_environment

FAILED = 1
MISCONFIGURED = 2
INTERRUPTED = 130


class Failure(Exception):
    """It did not work; the text says what to do."""


def tell(error: BaseException) -> int:
    """Prints the error for a person and returns the exit code."""
    while isinstance(error, BaseExceptionGroup):  # of a task group: the first one tells enough
        error = error.exceptions[0]
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, ConfigError):
        for mistake in error.mistakes:
            say(mistake)
        return MISCONFIGURED
    if isinstance(error, BrokenPipeError):  # `llm-proxy ... | head`
        return FAILED
    say(str(error) if isinstance(error, Failure) else _described(error))
    return FAILED


def say(line: str) -> None:
    sys.stderr.write(f"llm-proxy: {line}\n")
    sys.stderr.flush()


def _described(error: BaseException) -> str:
    """One of our errors by its text; anything else is a fault of ours, and its traceback is one variable away."""
    if type(error).__module__.split(".")[0] in ("app", "admin", "bus", "dispatcher", "sql", "config"):
        return str(error) or type(error).__name__
    if raw_environment(frozenset({"LOG_LEVEL"})).get("LOG_LEVEL") == "debug":
        return "".join(traceback.format_exception(error)).rstrip()
    return f"{type(error).__name__}: {error} (LOG_LEVEL=debug shows where)"

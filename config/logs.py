"""Logs: one JSON object a line on stderr (or plain text with LOG_FORMAT=console).

`logging` is used as it is; fields go in `extra={"fields": {...}}` through `log()`, which makes no LogRecord where our
own writer is all that listens. Writing happens on a thread of its own behind a bounded queue, so that a full pipe never
holds up the loop; what does not fit is counted and dropped.
"""

import atexit
import contextlib
import logging
import os
import threading
import time
from collections import deque
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

from config.secret import MASK, Secret
from config.settings import Settings

_QUEUE_LINES = 10_000  # about 3 MB of lines; beyond it lines are dropped and counted
_LINES_AT_ONCE = 1000
_GATHER_S = 0.02  # how long lines are gathered before they are written
_STDERR = 2
_END_S = 2.0  # what is left to write at exit may take this long
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Line(Struct, frozen=True, gc=False):
    """A line of `log()`, with a fraction of a LogRecord's cost for who logs it."""

    name: str
    level: int
    message: str
    fields: dict[str, object]
    created: float

    def as_record(self) -> logging.LogRecord:
        record = logging.LogRecord(self.name, self.level, "", 0, self.message, None, None)
        record.created, record.msecs = self.created, int(self.created % 1 * 1000)
        record.fields = self.fields
        return record


class _NoLock:
    """A deque's append is atomic. Python 3.13 enters a handler's lock without asking whether there is one."""

    def acquire(self) -> None: ...

    def release(self) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class _Lines(logging.Handler):
    """Takes records without waiting. A thread writes them, many at once: a hand-over for every line would cost a busy
    loop more than everything else about it. It takes no lock that the end of the process would wait for: when nobody
    reads our stderr any more, that thread stands still, and nothing else does.
    """

    dropped = 0

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._records: deque[logging.LogRecord | Line] = deque()
        self._has_some = threading.Event()
        self._is_ending = False
        self._thread = threading.Thread(target=self._write_all, name="log-lines", daemon=True)
        self._thread.start()

    def createLock(self) -> None:
        self.lock = _NoLock()  # type: ignore[assignment]  # typeshed names the class that logging makes

    def emit(self, record: logging.LogRecord) -> None:
        """The text is made now, while its arguments are what they were; the formatting is the thread's."""
        record.msg, record.args = record.getMessage(), None
        self.take(record)

    def take(self, record: "logging.LogRecord | Line") -> None:
        if len(self._records) >= _QUEUE_LINES:
            type(self).dropped += 1
            return
        self._records.append(record)
        if not self._has_some.is_set():
            self._has_some.set()

    def end(self) -> None:
        """Writes what is left, if that goes quickly."""
        self._is_ending = True
        self._has_some.set()
        self._thread.join(_END_S)

    def _write_all(self) -> None:
        while not self._is_ending:
            self._has_some.wait()
            if not self._is_ending:
                time.sleep(_GATHER_S)
            self._has_some.clear()
            self._write_what_is_there()

    def _write_what_is_there(self) -> None:
        while self._records:
            count = min(len(self._records), _LINES_AT_ONCE)
            text = b"".join(self._line(self._records.popleft()) for _ in range(count))
            with contextlib.suppress(OSError):  # nobody is there to be told
                while text:
                    text = text[os.write(_STDERR, text) :]

    def _line(self, record: "logging.LogRecord | Line") -> bytes:
        try:
            if not isinstance(record, Line):
                text = self.format(record)
            elif isinstance(self.formatter, JsonFormatter):
                return self.formatter.encoded(record) + b"\n"
            else:
                text = self.format(record.as_record())
        except Exception as error:  # a value that cannot be shown must not end all logging
            text = f"a line of {record.name} cannot be formatted: {error!r}"
        return text.encode("utf-8", "backslashreplace") + b"\n"


_only_lines: _Lines | None = None


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service
        self._encoder = msgspec.json.Encoder(enc_hook=_encode_other)

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        if record.exc_info:
            fields = {**fields, "error": self.formatException(record.exc_info)}
        return self.encoded(Line(record.name, record.levelno, record.getMessage(), fields, record.created)).decode()

    def encoded(self, line: Line) -> bytes:
        """UTF-8, without a LogRecord and a text on the way: there is a line for every exchange."""
        told: dict[str, Any] = {
            "ts": f"{_second(int(line.created))}.{int(line.created % 1 * 1000):03d}Z",
            "level": _level_word(line.level),
            "msg": line.message,
            "service": self._service,
            "logger": line.name,
            **line.fields,
        }
        try:
            return self._encoder.encode(told)
        except (UnicodeEncodeError, TypeError, RecursionError):  # half a character in a path, odd keys
            return self._encoder.encode({key: ascii(value) for key, value in told.items()})


@lru_cache(maxsize=8)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(maxsize=32)
def _level_word(level: int) -> str:
    return logging.getLevelName(level).lower()


class ConsoleFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        return super().format(record) + "".join(f" {key}={_on_one_line(value)}" for key, value in fields.items())


def set_up_logs(settings: Settings, service: str) -> None:
    """Once per process, before the first line. `service` is server, keeper, admin, ..."""
    global _only_lines
    _only_lines = lines = _Lines(JsonFormatter(service) if settings.log_format == "json" else ConsoleFormatter())
    atexit.register(lines.end)
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(_LEVELS[settings.log_level])
    for chatty in ("httpx", "httpcore", "asyncio", "granian", "_granian"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def log(logger: logging.Logger, level: int, message: str, **fields: object) -> None:
    """A line with fields. A Secret among them comes out masked."""
    if not logger.isEnabledFor(level):
        return
    if _only_lines is not None and logging.root.handlers == [_only_lines]:
        _only_lines.take(Line(logger.name, level, message, fields, time.time()))
    else:
        logger.log(level, message, extra={"fields": fields})


def dropped_lines() -> int:
    """Lines of this process that found the queue full."""
    return _Lines.dropped


def _on_one_line(value: object) -> str:
    """Nobody writes a second line into the log by what he sends."""
    text = str(value)
    return text if text.isprintable() else ascii(text)


def _encode_other(value: object) -> object:
    return MASK if isinstance(value, Secret) else str(value)

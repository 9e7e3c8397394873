"""Logs: one JSON object a line on stderr (or plain text with LOG_FORMAT=console).

`logging` is used as it is; fields go in `extra={"fields": {...}}` through `log()`. Writing happens on a thread of
its own behind a bounded queue, so that a full pipe never holds up the loop; what does not fit is counted and dropped.
"""

import atexit
import contextlib
import logging
import logging.handlers
import os
import queue
import time
from typing import Any

import msgspec

from config.secret import MASK, Secret
from config.settings import Settings

_QUEUE_LINES = 10_000  # about 3 MB of lines; beyond it lines are dropped and counted
_STDERR = 2
_END_S = 2.0  # what is left to write at exit may take this long
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _DroppingHandler(logging.handlers.QueueHandler):
    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Leaves the traceback to the formatter; the text is made now, while its arguments are what they were."""
        record.msg, record.args = record.getMessage(), None
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            type(self).dropped += 1


class _Listener(logging.handlers.QueueListener):
    """Writes to stderr without a lock that the end of the process would wait for: when nobody reads our stderr any
    more, its thread stands still, and nothing else does.
    """

    def __init__(self, lines: "queue.Queue[logging.LogRecord | None]", formatter: logging.Formatter) -> None:
        super().__init__(lines)
        self._lines = lines
        self._formatter = formatter

    def handle(self, record: logging.LogRecord) -> None:
        line = self._formatter.format(record).encode("utf-8", "backslashreplace") + b"\n"
        with contextlib.suppress(OSError):  # nobody is there to be told
            while line:
                line = line[os.write(_STDERR, line) :]

    def enqueue_sentinel(self) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_END_S)

    def stop(self) -> None:
        self.enqueue_sentinel()
        if self._thread is not None:
            self._thread.join(_END_S)
            self._thread = None


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service
        self._encoder = msgspec.json.Encoder(enc_hook=_encode_other)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
            "service": self._service,
            "logger": record.name,
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            return self._encoder.encode(line).decode()
        except (UnicodeEncodeError, TypeError, RecursionError):  # half a character in a path, odd keys
            return self._encoder.encode({key: ascii(value) for key, value in line.items()}).decode()


class ConsoleFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        return super().format(record) + "".join(f" {key}={_on_one_line(value)}" for key, value in fields.items())


def set_up_logs(settings: Settings, service: str) -> None:
    """Once per process, before the first line. `service` is server, keeper, admin, ..."""
    formatter = JsonFormatter(service) if settings.log_format == "json" else ConsoleFormatter()
    lines: queue.Queue[logging.LogRecord | None] = queue.Queue(_QUEUE_LINES)
    listener = _Listener(lines, formatter)
    listener.start()
    atexit.register(listener.stop)
    root = logging.getLogger()
    root.handlers[:] = [_DroppingHandler(lines)]
    root.setLevel(_LEVELS[settings.log_level])
    for chatty in ("httpx", "httpcore", "asyncio", "granian", "_granian"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def log(logger: logging.Logger, level: int, message: str, **fields: object) -> None:
    """A line with fields. A Secret among them comes out masked."""
    if logger.isEnabledFor(level):
        logger.log(level, message, extra={"fields": fields})


def dropped_lines() -> int:
    """Lines of this process that found the queue full."""
    return _DroppingHandler.dropped


def _on_one_line(value: object) -> str:
    """Nobody writes a second line into the log by what he sends."""
    text = str(value)
    return text if text.isprintable() else ascii(text)


def _encode_other(value: object) -> object:
    return MASK if isinstance(value, Secret) else str(value)

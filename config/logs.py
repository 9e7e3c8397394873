"""Logs: one JSON object a line on stderr (or plain text with LOG_FORMAT=console).

`logging` is used as it is; fields go in `extra={"fields": {...}}` through `log()`. Writing happens on a thread of
its own behind a bounded queue, so that a full pipe never holds up the loop; what does not fit is counted, not waited for.
"""

import atexit
import logging
import logging.handlers
import queue
import sys
import time
from typing import Any

import msgspec

from config.secret import MASK, Secret
from config.settings import Settings

_QUEUE_LINES = 10_000  # about 3 MB of lines; beyond it lines are dropped and counted
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class _DroppingHandler(logging.handlers.QueueHandler):
    dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            type(self).dropped += 1


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
        return self._encoder.encode(line).decode()


class ConsoleFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        return super().format(record) + "".join(f" {k}={v}" for k, v in fields.items())


def set_up_logs(settings: Settings, service: str) -> None:
    """Once per process, before the first line. `service` is server, keeper, admin, ..."""
    out = logging.StreamHandler(sys.stderr)
    out.setFormatter(JsonFormatter(service) if settings.log_format == "json" else ConsoleFormatter())
    lines: queue.Queue[logging.LogRecord] = queue.Queue(_QUEUE_LINES)
    listener = logging.handlers.QueueListener(lines, out)
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


def _encode_other(value: object) -> object:
    return MASK if isinstance(value, Secret) else str(value)

"""One server per DATA_DIR: a second one would fight over the ports, the spool and the embedded log."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from config import paths
from config.settings import Settings


class AlreadyRunning(Exception):
    """Another server uses this data folder."""


@contextmanager
def only_server(settings: Settings) -> Iterator[None]:
    """Holds the lock while inside; the system lets it go when the process dies. Raises AlreadyRunning."""
    folder = paths.run_dir(settings)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "server.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            raise AlreadyRunning(
                f"a server with pid {pid} already uses {paths.data_dir(settings).absolute()}; "
                "stop it, or give this one a DATA_DIR of its own"
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)

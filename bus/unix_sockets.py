"""Unix sockets in DATA_DIR: addresses for deep folders, and whether somebody listens."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LONGEST: Final = 100  # bytes that a socket's address takes everywhere (Linux: 107)


@contextmanager
def address(path: Path) -> Iterator[str]:
    """A deep DATA_DIR does not fit into a socket's address; on Linux the folder's descriptor shortens it."""
    if len(os.fsencode(path)) <= _LONGEST or not Path("/proc/self/fd").exists():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def is_heard(path: Path, kind: socket.SocketKind) -> bool:
    """Whether a process has this socket open, be it frozen; not for one that a dead process left behind."""
    with socket.socket(socket.AF_UNIX, kind) as asking:
        asking.setblocking(False)
        try:
            with address(path) as at:
                asking.connect(at)
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
    return True

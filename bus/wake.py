"""A worker's nudge to the relay: one datagram that says "look". It carries nothing, and nothing depends on its arrival:
the relay looks every `poll_ms` anyway."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_LONGEST_ADDRESS: Final = 100  # the kernel's limit is 107 bytes


class Wake:
    """The worker's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def poke(self) -> None:
        """Never waits, never fails: no listener and a full queue are both fine."""
        with contextlib.suppress(OSError), _address(self._path) as address:
            self._socket.sendto(b"", address)

    def close(self) -> None:
        self._socket.close()


class WakeListener:
    """The relay's end. Where no socket can be made, `wait` is a plain pause."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            path.unlink(missing_ok=True)
            with _address(path) as address:
                self._socket.bind(address)
            path.chmod(0o600)
        except OSError:
            self._socket.close()
            self._socket = None

    async def wait(self, timeout_s: float) -> bool:
        """Until a poke or the time-out; whether it was a poke. Pokes that came before count; many are one."""
        if self._socket is None:
            await asyncio.sleep(timeout_s)
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_recv(self._socket, 1)
        except TimeoutError:
            return False
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(1)
        return True

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """A socket's address for `path`, by way of its folder's descriptor when the path is longer than a socket takes."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)

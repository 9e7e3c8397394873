"""A worker's nudge to the relay: one datagram that says "look". It carries nothing, and nothing depends on its arrival:
the relay looks every `poll_ms` anyway."""

import asyncio
import contextlib
import socket
from pathlib import Path

from bus.unix_sockets import address, is_heard


class Wake:
    """The worker's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def poke(self) -> None:
        """Never waits, never fails: no listener and a full queue are both fine."""
        with contextlib.suppress(OSError), address(self._path) as at:
            self._socket.sendto(b"", at)

    def close(self) -> None:
        self._socket.close()


class WakeListener:
    """The relay's end. Where no socket can be made, or another relay still has it, `wait` is a plain pause."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._bind(self._socket)
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

    def _bind(self, listener: socket.socket) -> None:
        if is_heard(self._path, socket.SOCK_DGRAM):
            raise OSError(f"{self._path} is in use")
        self._path.unlink(missing_ok=True)
        with address(self._path) as at:
            listener.bind(at)
        self._path.chmod(0o600)

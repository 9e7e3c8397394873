"""Hosts of their own on one machine: network namespaces, each with a wire to this one. Linux, and root only."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_NETWORK: Final = "10.213"  # private, and seldom anybody's


@dataclass(frozen=True)
class Host:
    namespace: str
    address: str
    """Its own."""
    gateway: str
    """This machine's, as it sees it."""

    @property
    def prefix(self) -> list[str]:
        """What a command begins with to run there."""
        return ["ip", "netns", "exec", self.namespace]


def why_not() -> str:
    """Empty when hosts can be made here."""
    if not shutil.which("ip"):
        return "there is no `ip` (iproute2) on this machine"
    if os.geteuid() != 0:
        return "network namespaces need root"
    return ""


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_host(number)) for number in range(1, count + 1)]


@contextlib.contextmanager
def _host(number: int) -> Iterator[Host]:
    name = f"llmp{os.getpid() % 100_000}h{number}"  # names of interfaces have 15 characters at most
    host = Host(name, f"{_NETWORK}.{number}.2", f"{_NETWORK}.{number}.1")
    _ip("netns", "add", name)
    try:
        _ip("link", "add", name, "type", "veth", "peer", "name", "wire", "netns", name)
        _ip("addr", "add", f"{host.gateway}/24", "dev", name)
        _ip("link", "set", name, "up")
        _ip("-n", name, "addr", "add", f"{host.address}/24", "dev", "wire")
        for device in ("wire", "lo"):
            _ip("-n", name, "link", "set", device, "up")
        yield host
    finally:
        _ip("netns", "del", name)  # its end of the wire goes with it, and so does ours


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def forwarding(address: str, port: int) -> Iterator[None]:
    """What comes to `address`:`port` goes on to the same port of loopback, where the server listens."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opened = asyncio.run_coroutine_threadsafe(_open(address, port), loop).result(60)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(opened.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)


async def _open(address: str, port: int) -> asyncio.Server:
    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(_pump(reader, to_writer), _pump(to_reader, writer))

    return await asyncio.start_server(pass_on, address, port)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65_536):
            writer.write(piece)
            await writer.drain()
    writer.close()

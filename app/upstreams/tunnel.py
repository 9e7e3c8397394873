"""A tunnel through a forward proxy: CONNECT (RFC 9110 section 9.3.6) on a fresh connection, before TLS begins."""

import asyncio
import re
import socket
from typing import Final

from app.upstreams.egress import ForwardProxy

_MOST_BYTES: Final = 64 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class TunnelRefused(Exception):
    """The proxy did not open the way; the text says what it answered instead."""


async def tunnel(to_proxy: socket.socket, proxy: ForwardProxy, host: str, port: int) -> None:
    """`to_proxy` leads to host:port afterwards. Raises TunnelRefused, OSError."""
    loop = asyncio.get_running_loop()
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    authorization = f"proxy-authorization: {proxy.authorization.reveal()}\r\n" if proxy.authorization else ""
    await loop.sock_sendall(
        to_proxy, f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n{authorization}\r\n".encode("latin-1")
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = await loop.sock_recv(to_proxy, _MOST_BYTES)
        answer += piece
        if not piece or len(answer) > _MOST_BYTES:
            raise TunnelRefused("no valid answer")
    status = _STATUS.match(answer)
    if status is None:
        raise TunnelRefused("no valid answer")
    if not status[1].startswith(b"2"):
        raise TunnelRefused(f"status {status[1].decode()}")
    if not answer.endswith(b"\r\n\r\n"):
        raise TunnelRefused("bytes that nobody has asked for")

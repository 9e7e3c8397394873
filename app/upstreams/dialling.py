"""New connections to one upstream: names resolved and remembered, both IP versions tried, tunnelled, TLS checked.

Addresses are tried in the order of RFC 8305 (happy eyeballs). An answer of the resolver is used for DNS_TTL_S, and for
longer when the resolver is away.
"""

import asyncio
import socket
import ssl
from typing import Final
from urllib.parse import urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from app.errors import UpstreamTimeout, UpstreamUnreachable
from app.upstreams.egress import Egress, tls_context
from app.upstreams.http1_connection import Http1Connection
from app.upstreams.tunnel import TunnelRefused, tunnel
from config.provider import Provider

_DNS_TTL_S: Final = 30.0
_NEXT_ADDRESS_S: Final = 0.25  # RFC 8305 section 5
_PORTS: Final = {"http": 80, "https": 443}


class Dialler:
    def __init__(self, provider: Provider, egress: Egress) -> None:
        parts = urlsplit(provider.base_url)
        self._name = provider.name
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._is_tls = parts.scheme == "https"
        self._proxy = egress.proxy_to(provider.base_url)
        self._connection = provider.connection
        self._timeout_s = provider.timeouts.connect_ms / 1000 or None
        self._tls: ssl.SSLContext | None = None
        self._addresses: list[AddrInfoType] = []
        self._resolved_at = -_DNS_TTL_S

    async def dial(self) -> Http1Connection:
        """Raises UpstreamTimeout, UpstreamUnreachable."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._connected()
        except TimeoutError as error:
            raise UpstreamTimeout(f"{self._name} could not be connected to in time; try again.") from error
        except ssl.SSLCertVerificationError as error:
            raise UpstreamUnreachable(
                f"{self._name} showed a certificate that is not trusted ({error.verify_message}); check its base_url."
            ) from error
        except TunnelRefused as error:
            raise UpstreamUnreachable(
                f"The proxy in HTTPS_PROXY opened no way to {self._name} ({error}); check it, or NO_PROXY."
            ) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that no DNS name can be
            self._resolved_at = -_DNS_TTL_S
            raise UpstreamUnreachable(
                f"{self._name} cannot be reached from here; try again, or check its base_url."
            ) from error

    async def _connected(self) -> Http1Connection:
        loop = asyncio.get_running_loop()
        addresses = await self._resolve(loop)
        found = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1, loop=loop)
        try:
            if self._proxy:
                await tunnel(found, self._proxy, self._host, self._port)
            if self._is_tls and self._tls is None:  # reading the trust store takes milliseconds
                self._tls = await asyncio.to_thread(tls_context, self._connection)
            _, connection = await loop.create_connection(
                Http1Connection, sock=found, ssl=self._tls, server_hostname=self._host if self._is_tls else None
            )
        except BaseException:
            found.close()
            raise
        connection.socket = found
        return connection

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> list[AddrInfoType]:
        if self._addresses and loop.time() - self._resolved_at < _DNS_TTL_S:
            return self._addresses
        try:
            host, port = (self._proxy.host, self._proxy.port) if self._proxy else (self._host, self._port)
            self._addresses = list(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            self._resolved_at = loop.time()
        except OSError:
            if not self._addresses:
                raise
        return self._addresses

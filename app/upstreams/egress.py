"""How upstreams are reached from here: through which proxy, and whom TLS trusts.

HTTPS_PROXY and NO_PROXY mean what they mean to curl; only https upstreams are tunnelled. Loopback is always direct.
"""

import contextlib
import ipaddress
import re
import ssl
from base64 import b64encode
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed lacks it

from msgspec import Struct

from config.errors import ConfigError
from config.provider import Connection
from config.secret import Secret
from config.settings import Settings

_PROXY: Final = re.compile(r"http://([^/\s?#@]+@)?[^/\s?#@]+/?")


class ForwardProxy(Struct, frozen=True):
    """A proxy that tunnels by CONNECT (RFC 9110 section 9.3.6)."""

    host: str
    port: int
    authorization: Secret | None
    """The value of Proxy-Authorization."""


class Egress(Struct, frozen=True):
    proxy: ForwardProxy | None = None
    no_proxy: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Egress":
        """Raises ConfigError."""
        url = settings.https_proxy.reveal() if settings.https_proxy else ""
        if not url:
            return DIRECT
        try:
            parts = urlsplit(url)
            port = parts.port or 80
        except ValueError:
            parts, port = urlsplit(""), 0
        if not _PROXY.fullmatch(url) or not parts.hostname:
            raise ConfigError(["HTTPS_PROXY must be http://[user:password@]host:port"])
        return cls(ForwardProxy(parts.hostname, port, _basic(parts.username, parts.password)), settings.no_proxy)

    def proxy_to(self, base_url: str) -> ForwardProxy | None:
        """None: it is reached directly."""
        parts = urlsplit(base_url)
        if self.proxy is None or parts.scheme != "https" or _is_loopback(parts.hostname or ""):
            return None
        return None if proxy_bypass_environment(parts.netloc, {"no": self.no_proxy}) else self.proxy


DIRECT: Final = Egress()


class TlsContext(ssl.SSLContext):
    """A client's context that goes on with the last session of its server, which spares a handshake its signatures."""

    _newest: ssl.SSLObject | None = None
    _session: ssl.SSLSession | None = None

    def wrap_bio(self, *args: object, **options: object) -> ssl.SSLObject:
        with contextlib.suppress(ValueError):  # of a handshake that is still under way
            self._session = (self._newest.session if self._newest else None) or self._session
        self._newest = super().wrap_bio(*args, **{**options, "session": self._session})  # type: ignore[arg-type]
        return self._newest


def tls_context(connection: Connection) -> TlsContext:
    """Trusts `ca_file` alone, or else the system's store (SSL_CERT_FILE, SSL_CERT_DIR). Blocking; raises OSError."""
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    if connection.ca_file:
        context.load_verify_locations(connection.ca_file)
    else:
        context.load_default_certs()
    if connection.client_cert_file:
        context.load_cert_chain(connection.client_cert_file, connection.client_key_file or None, password="")
    return context


def _basic(user: str | None, password: str | None) -> Secret | None:
    if not user:
        return None
    pair = f"{unquote(user)}:{unquote(password or '')}"
    return Secret(f"Basic {b64encode(pair.encode()).decode()}")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

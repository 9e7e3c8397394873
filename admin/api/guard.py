"""Who may pass: so many requests an address, so few wrong tokens, and then only the management token.

Denied by default: only Operations marked `is_open` are served without it. An address that has used up its wrong
tokens waits even with the right one, since the answer would otherwise tell a guesser when it is right.
"""

from starlette.requests import Request

from admin.acts.actor import Actor
from admin.acts.sign_ins import RefusedSignIns
from admin.api.allowance import Allowance
from admin.api.errors import ApiError, too_many
from admin.api.operation import ManageDeps
from config.client_address import client_address, limiting_key, trusted_networks

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="llm-proxy"'}


class Guard:
    def __init__(self, deps: ManageDeps) -> None:
        """Raises ConfigError when TRUSTED_PROXIES cannot be used."""
        self._deps = deps
        self._token = deps.settings.management_token
        self._trusted = trusted_networks(deps.settings.trusted_proxies)
        self._requests = Allowance(deps.settings.manage_rate_per_minute, deps.clock)
        self._wrong_tokens = Allowance(deps.settings.login_rate_per_minute, deps.clock)
        self._refused = RefusedSignIns(deps.clock)

    def address(self, request: Request) -> str:
        peer = request.client.host if request.client else ""
        return client_address(peer, request.headers.getlist("x-forwarded-for"), self._trusted)

    def admit(self, address: str) -> None:
        """Counts a request. Raises ApiError 429."""
        if wait_s := self._requests.take(limiting_key(address)):
            raise too_many(wait_s)

    async def authenticate(self, request: Request, actor: Actor) -> None:
        """Raises ApiError 401 or 429."""
        key = limiting_key(actor.client_ip or "")
        if wait_s := self._wrong_tokens.wait_s(key):
            await self._refused.record(self._deps.stores, actor, "manage.access")
            raise too_many(wait_s)
        shown = _bearer(request)
        if self._token and shown is not None and self._token.matches(shown):
            return
        if shown is not None:  # a missing token is no guess: it does not use up the address's tries
            self._wrong_tokens.take(key)
        await self._refused.record(self._deps.stores, actor, "manage.access")
        raise ApiError(401, "unauthorized", self._why(shown), headers=_CHALLENGE)

    def _why(self, shown: str | None) -> str:
        if not self._token:
            return "MANAGEMENT_TOKEN is not set on the server, so /manage is closed"
        return "missing or invalid Authorization header" if shown is None else "invalid management token"


def _bearer(request: Request) -> str | None:
    """The credential of the only Authorization header; None when there is none, or several, or another scheme."""
    values = [value for name, value in request.headers.raw if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, credential = values[0].strip().partition(b" ")
    if scheme.lower() != b"bearer" or not credential.strip():
        return None
    return credential.strip().decode("utf-8", "replace")

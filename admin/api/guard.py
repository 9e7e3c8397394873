"""Who may pass: so many requests an address, so few wrong tokens, and then what the shown token's scopes allow.

Denied by default: only Operations marked `is_open` are served without a token. MANAGEMENT_TOKEN may do everything,
other management tokens what their scopes name. An address that has used up its wrong tokens waits even with the right
one, since the answer would otherwise tell a guesser when it is right.
"""

from typing import Final

from msgspec import Struct
from starlette.requests import Request

from admin.acts.actor import Actor
from admin.acts.management_tokens import PREFIX, opens
from admin.acts.refusals import WRONG_CREDENTIAL, Refusals
from admin.api.allowance import Allowance
from admin.api.errors import ApiError, too_many
from admin.api.operation import ManageDeps, Operation
from config.client_address import client_address, limiting_key, trusted_networks
from config.secret import Secret
from config.settings import Settings
from sql.repositories import management_tokens
from sql.sealing import hash_token

_ACCESS: Final = "manage.access"
_MAX_CHARS: Final = 128  # nothing of ours is longer
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="llm-proxy"'}


class Caller(Struct, frozen=True):
    """Whose token it was."""

    name: str
    """As the audit log has it."""
    scopes: frozenset[str] | None
    """None: all, and what no scope covers."""


class Guard:
    def __init__(self, deps: ManageDeps) -> None:
        """Raises ConfigError when TRUSTED_PROXIES cannot be used."""
        self._deps = deps
        self._from_settings = _tokens_of(deps.settings)
        self._trusted = trusted_networks(deps.settings.trusted_proxies)
        self._requests = Allowance(deps.settings.manage_rate_per_minute, deps.clock)
        self._wrong_tokens = Allowance(deps.settings.login_rate_per_minute, deps.clock)
        self._refused = Refusals(deps.clock)

    def address(self, request: Request) -> str:
        peer = request.client.host if request.client else ""
        return client_address(peer, request.headers.getlist("x-forwarded-for"), self._trusted)

    def admit(self, address: str) -> None:
        """Counts a request. Raises ApiError 429."""
        if wait_s := self._requests.take(limiting_key(address)):
            raise too_many(wait_s)

    async def authenticate(self, request: Request, actor: Actor) -> Caller:
        """Raises ApiError 401 or 429, StoreError when a token of the database cannot be looked up."""
        key = limiting_key(actor.client_ip or "")
        if wait_s := self._wrong_tokens.wait_s(key):
            await self._refused.record(self._deps.stores, actor, _ACCESS, "the address has to wait")
            raise too_many(wait_s)
        shown = _bearer(request)
        caller = await self._caller(shown) if shown is not None else None
        if caller is not None:
            return caller
        if shown is not None:  # a missing token is no guess: it does not use up the address's tries
            self._wrong_tokens.take(key)
        await self._refused.record(self._deps.stores, actor, _ACCESS, WRONG_CREDENTIAL)
        raise ApiError(401, "unauthorized", self._why(shown), headers=_CHALLENGE)

    async def permit(self, caller: Caller, actor: Actor, operation: Operation) -> None:
        """Raises ApiError 403 when none of the token's scopes covers the operation."""
        needed = operation.needs
        if caller.scopes is None or needed in caller.scopes:
            return
        why = f"needs the scope {needed}" if needed else "is for MANAGEMENT_TOKEN alone"
        await self._refused.record(self._deps.stores, actor, operation.audit_action or _ACCESS, why)
        raise ApiError(403, "forbidden", f"this management token may not do that: it {why}")

    async def _caller(self, shown: str) -> Caller | None:
        for name, token in self._from_settings:
            if token.matches(shown):
                return Caller(name, None)
        if not shown.startswith(PREFIX) or len(shown) > _MAX_CHARS:
            return None
        on, now, token_hash = self._deps.stores.main, self._deps.clock.now_ms(), hash_token(shown)
        row = await management_tokens.by_hash(on, token_hash)
        if row is None or not opens(row, token_hash, now):
            return None
        await management_tokens.touch(on, row.id, now)
        return Caller(f"management_token:{row.name}", frozenset(row.scopes.split()))

    def _why(self, shown: str | None) -> str:
        if not self._from_settings:
            return "MANAGEMENT_TOKEN is not set on the server, so only tokens made before are taken"
        return "missing or invalid Authorization header" if shown is None else "invalid management token"


def _tokens_of(settings: Settings) -> list[tuple[str, Secret]]:
    """The one of before keeps working beside its successor; the audit log shows who still uses it."""
    named = (
        ("management_token", settings.management_token),
        ("management_token_previous", settings.management_token_previous),
    )
    return [(name, token) for name, token in named if token]


def _bearer(request: Request) -> str | None:
    """The credential of the only Authorization header; None when there is none, or several, or another scheme."""
    values = [value for name, value in request.headers.raw if name == b"authorization"]
    if len(values) != 1:
        return None
    scheme, _, credential = values[0].strip().partition(b" ")
    if scheme.lower() != b"bearer" or not credential.strip():
        return None
    return credential.strip().decode("utf-8", "replace")

"""Authenticate: sets `exchange.token`. Deny by default; an unknown token and a malformed one look the same."""

from app.credentials import find_token
from app.errors import InvalidToken, TokenExpired, TokenInactive
from app.exchange import Exchange, Proceed
from app.lookups import Lookups
from config.clock import Clock

_MAX_TOKEN_CHARS = 512  # nothing of ours is longer; hashing megabytes for strangers is not our trade


class Authenticate:
    def __init__(self, lookups: Lookups, clock: Clock) -> None:
        self._lookups = lookups
        self._clock = clock

    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        shown = find_token(exchange.provider.auth, exchange.first, exchange.query)
        if shown is None:
            raise InvalidToken(
                "No token was sent; put your project's token where this provider's SDK puts its API key."
            )
        row = await self._lookups.token(shown) if len(shown) <= _MAX_TOKEN_CHARS else None
        if row is None:
            raise InvalidToken("This token is not known; check it, or ask for a new one.")
        exchange.facts.token_id = row.id
        exchange.facts.project_id = row.project_id
        if not row.is_active:
            raise TokenInactive("This token has been revoked; ask for a new one.")
        if row.expires_at_ms is not None and row.expires_at_ms <= self._clock.now_ms():
            raise TokenExpired("This token has expired; ask for a new one.")
        exchange.token = row
        await proceed(exchange)

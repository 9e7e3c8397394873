"""Signed-in browsers: rows in the `sessions` table, found by the hash of a random cookie.

A session ends after twelve idle hours or seven days, at sign-out, or when its row is deleted. Behind https the cookie
is bound to the host by its `__Host-` name; on plain http (a laptop) browsers would refuse that name.
"""

import hashlib
import secrets
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from config.clock import Clock
from sql.repositories import sessions
from sql.rows import SessionRow
from sql.stores import Stores

IDLE_MS: Final = 12 * 3600 * 1000
ABSOLUTE_MS: Final = 7 * 24 * 3600 * 1000
_TOUCH_MS: Final = 60_000  # last_seen is written once a minute, not with every poll
_SECURE_COOKIE: Final = "__Host-llmproxy_session"
_PLAIN_COOKIE: Final = "llmproxy_session"


def cookie_name(is_https: bool) -> str:
    return _SECURE_COOKIE if is_https else _PLAIN_COOKIE


async def find_session(stores: Stores, clock: Clock, cookie: str) -> SessionRow | None:
    """The live session of a cookie. Raises StoreUnavailable."""
    if not cookie:
        return None
    row = await sessions.get(stores.main, _hash(cookie))
    now = clock.now_ms()
    if row is None or row.expires_at_ms <= now or row.last_seen_at_ms + IDLE_MS <= now:
        return None
    if row.last_seen_at_ms + _TOUCH_MS <= now:
        await sessions.touch(stores.main, row.id_hash, now)
    return row


async def open_session(
    stores: Stores, clock: Clock, *, actor: str, user_agent: str, client_ip: str
) -> tuple[SessionRow, str]:
    """A new row and the cookie's value, which is known to the browser alone. Sweeps out what has expired."""
    cookie, now = secrets.token_urlsafe(32), clock.now_ms()
    row = SessionRow(
        id_hash=_hash(cookie),
        actor=actor,
        csrf=secrets.token_urlsafe(32),
        created_at_ms=now,
        last_seen_at_ms=now,
        expires_at_ms=now + ABSOLUTE_MS,
        user_agent=user_agent[:500],
        client_ip=client_ip,
    )
    await sessions.delete_expired(stores.main, now)
    await sessions.create(stores.main, row)
    return row, cookie


async def close_session(stores: Stores, row: SessionRow) -> None:
    await sessions.delete(stores.main, row.id_hash)


def read_cookie(request: Request, is_https: bool) -> str:
    return request.cookies.get(cookie_name(is_https), "")


def set_cookie(response: Response, cookie: str, is_https: bool) -> None:
    response.set_cookie(
        cookie_name(is_https), cookie, max_age=ABSOLUTE_MS // 1000, httponly=True, secure=is_https, samesite="lax"
    )


def drop_cookie(response: Response, is_https: bool) -> None:
    response.delete_cookie(cookie_name(is_https), httponly=True, secure=is_https, samesite="lax")


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()

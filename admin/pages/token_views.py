"""Tokens as they are shown: their state in one word, and how much of the quota is gone."""

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from msgspec import Struct

from admin.wording import span
from sql.rows import TokenRow

GRACES: Final = {"0": "not at all", "1h": "for 1 hour", "1d": "for 1 day", "7d": "for 7 days"}
"""How long an old secret may go on working, as a person chooses it."""
State = Literal["active", "expired", "used up", "revoked"]


class TokenView(Struct, frozen=True, kw_only=True):
    id: str
    hint: str
    project_id: str
    project_name: str
    state: State
    created_at_ms: int
    last_used_at_ms: int | None
    expires_at_ms: int | None
    expires_in: str
    """`in 3 days`, `2 hours ago`; empty for never."""
    request_count: int
    max_requests: int | None
    used_share: int
    """0 to 100 of the quota; 0 without one."""
    previous_until_ms: int | None
    """Until when the secret before the last rotation works, or did."""
    old_works: bool


def token_state(row: TokenRow, now_ms: int) -> State:
    if not row.is_active:
        return "revoked"
    if row.expires_at_ms is not None and row.expires_at_ms <= now_ms:
        return "expired"
    if row.max_requests is not None and row.request_count >= row.max_requests:
        return "used up"
    return "active"


def token_views(rows: Iterable[TokenRow], project_names: Mapping[str, str], now_ms: int) -> list[TokenView]:
    return [token_view(row, project_names.get(row.project_id, ""), now_ms) for row in rows]


def token_view(row: TokenRow, project_name: str, now_ms: int) -> TokenView:
    return TokenView(
        id=row.id,
        hint=row.hint,
        project_id=row.project_id,
        project_name=project_name,
        state=token_state(row, now_ms),
        created_at_ms=row.created_at_ms,
        last_used_at_ms=row.last_used_at_ms,
        expires_at_ms=row.expires_at_ms,
        expires_in=_expires_in(row.expires_at_ms, now_ms),
        request_count=row.request_count,
        max_requests=row.max_requests,
        used_share=min(100, 100 * row.request_count // row.max_requests) if row.max_requests else 0,
        previous_until_ms=row.previous_until_ms,
        old_works=row.previous_until_ms is not None and row.previous_until_ms > now_ms and row.is_active,
    )


def _expires_in(expires_at_ms: int | None, now_ms: int) -> str:
    if expires_at_ms is None:
        return ""
    left = expires_at_ms - now_ms
    return f"in {span(left)}" if left > 0 else f"{span(-left)} ago"

"""The demo's projects, keys and tokens: made once, looked up on later starts, repaired when something is missing."""

from collections.abc import Mapping

from msgspec import Struct

from admin.acts.actor import Actor
from admin.acts.projects import create_project, update_project
from admin.acts.tokens import create_token, revoke_token
from app.cli.demo_state import DemoState
from app.demo.traffic import Tokens
from config.clock import Clock
from config.secret import Secret
from sql.repositories import api_keys, projects, tokens
from sql.rows import ProjectRow, Recording
from sql.sealing import hash_token
from sql.stores import Stores

_DAY_MS = 86_400_000
_DURATION_MS = 365 * _DAY_MS
_QUOTA = 60
_ACTOR = Actor(name="demo")
_PROJECTS: dict[str, Recording] = {
    "demo": "full",
    "checkout-assistant": "full",
    "internal-search": "metadata",
    "support-bot": "full",
}


class DemoTokens(Struct, frozen=True):
    newcomer: str
    traffic: Tokens


async def make(stores: Stores, clock: Clock, keys: Mapping[str, str], old: DemoState | None) -> DemoTokens:
    """`keys` are what each project's providers are called with. Raises StoreError."""
    rows = {name: await _project(stores, clock, name, recording) for name, recording in _PROJECTS.items()}
    for row in rows.values():
        await _keys(stores, clock, row, keys)
    known = old.tokens if old else Tokens({}, "", "")
    newcomer = await _token(stores, clock, rows["demo"], old.token if old else "")
    by_project = {
        name: await _token(stores, clock, row, known.by_project.get(name, ""))
        for name, row in rows.items()
        if name != "demo"
    }
    limited = known.limited or await _new_token(stores, clock, rows["support-bot"], _QUOTA)
    revoked = known.revoked or await _revoked_token(stores, clock, rows["internal-search"])
    return DemoTokens(newcomer, Tokens(by_project, revoked, limited))


async def _project(stores: Stores, clock: Clock, name: str, recording: Recording) -> ProjectRow:
    found = await projects.list_page(stores.main, search=name, is_active=None, after=None, limit=100)
    for row in found:
        if row.name == name:
            return row
    return await create_project(stores, clock, _ACTOR, name=name, api_key=None, recording=recording)


async def _keys(stores: Stores, clock: Clock, row: ProjectRow, keys: Mapping[str, str]) -> None:
    held = {key.provider: key.key.reveal() for key in await api_keys.for_project(stores.main, stores.sealer, row.id)}
    for provider, key in keys.items():
        if held.get(provider) != key:
            await update_project(stores, clock, _ACTOR, row.id, api_key=Secret(key), provider=provider)


async def _token(stores: Stores, clock: Clock, project: ProjectRow, known: str) -> str:
    """The known one when it still works."""
    row = await tokens.by_hash(stores.main, hash_token(known)) if known else None
    if row and row.is_active and (row.expires_at_ms is None or row.expires_at_ms > clock.now_ms() + _DAY_MS):
        return known
    return await _new_token(stores, clock, project, None)


async def _new_token(stores: Stores, clock: Clock, project: ProjectRow, quota: int | None) -> str:
    _, token = await create_token(
        stores, clock, _ACTOR, project_id=project.id, duration_ms=_DURATION_MS, max_requests=quota
    )
    return token


async def _revoked_token(stores: Stores, clock: Clock, project: ProjectRow) -> str:
    row, token = await create_token(
        stores, clock, _ACTOR, project_id=project.id, duration_ms=_DURATION_MS, max_requests=None
    )
    await revoke_token(stores, clock, _ACTOR, row.id)
    return token

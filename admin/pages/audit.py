"""The audit log: who did what to which object, and what it was before. Nothing can be changed here."""

from collections.abc import Mapping
from typing import Any, get_args
from urllib.parse import quote

import msgspec
from msgspec import Struct
from starlette.responses import Response

from admin.lists import CURSOR, PAGE_ROWS, Query, Whole, address, pager, read_cursor
from admin.visit import Visit
from sql.repositories import audit
from sql.rows import AuditFilter, AuditRow, Outcome

LIST = "/admin/audit"
_OUTCOMES: Mapping[str, Outcome] = {name: name for name in get_args(Outcome)}
_PAGES = {
    "project": "/admin/projects/",
    "token": "/admin/tokens/",
    "request": "/admin/requests/",
    "backend": "/admin/backends/dead-letters?backend=",
}


class FieldChange(Struct, frozen=True):
    name: str
    before: str
    after: str


class AuditView(Struct, frozen=True, kw_only=True):
    row: AuditRow
    link: str
    """The object's page; empty when it has none."""
    changes: list[FieldChange]


class Chosen(Query, frozen=True):
    q: str = ""
    outcome: str = ""
    object_id: str = ""


async def list_all(visit: Visit) -> Response:
    query, on = visit.query, visit.parts.stores.main
    outcome = query.get("outcome", "")
    chosen = Chosen(
        q=query.get("q", "")[:200].strip(),
        outcome=outcome if outcome in _OUTCOMES else "",
        object_id=query.get("object_id", "")[:64],
    )
    wanted = AuditFilter(
        search=chosen.q or None, outcome=_OUTCOMES.get(chosen.outcome), object_id=chosen.object_id or None
    )
    before = read_cursor(query.get(CURSOR), tuple[Whole, str])
    rows = await audit.list_page(on, wanted, before=before, limit=PAGE_ROWS + 1)
    return visit.show_list(
        "audit/list.html",
        "audit/_rows.html",
        address(LIST, chosen.query),
        events=[_view(row) for row in rows[:PAGE_ROWS]],
        chosen=chosen,
        outcomes=list(_OUTCOMES),
        pager=pager(LIST, chosen.query, query, [(row.seq, row.id) for row in rows]),
    )


def _view(row: AuditRow) -> AuditView:
    kind, id = (row.object_kind, row.object_id)
    if kind == "api_key" and row.project_id:
        kind, id = "project", row.project_id
    link = _PAGES[kind] + quote(id, safe="") if kind in _PAGES and id else ""
    return AuditView(row=row, link=link, changes=_changes(_fields(row.before), _fields(row.after)))


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[FieldChange]:
    names = list(dict.fromkeys([*before, *after]))
    return [FieldChange(name, _text(before.get(name)), _text(after.get(name))) for name in names]


def _fields(text: str | None) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(text or "{}")
    except msgspec.MsgspecError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _text(value: object) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)

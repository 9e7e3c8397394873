"""Whatever is done to the rows of the audit log behind its back is found."""

import string

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sql.database import Connection
from sql.errors import Conflict
from sql.repositories import audit
from sql.rows import AuditRow, NewAudit
from sql.statements import Statement, compile_statement
from sql.stores import Stores
from tests.support.rows import NOW_MS

_ROWS = 6
_COLUMNS = [name for name in AuditRow.__struct_fields__ if name not in ("id", "seq", "at_ms", "outcome")]
_TEXT = st.text(string.printable, max_size=20)
_SEQ = st.integers(1, _ROWS)


class _Undo(Exception):
    pass


def _do(text: str, /, **values: object) -> tuple[Statement, dict[str, object]]:
    return compile_statement("tamper", text), values


def _swap(one: int, other: int) -> list[tuple[Statement, dict[str, object]]]:
    move = "UPDATE audit_events SET seq = :new WHERE seq = :old"
    return [_do(move, old=one, new=99), _do(move, old=other, new=one), _do(move, old=99, new=other)]


altered = st.builds(
    lambda column, seq, text: [_do(f"UPDATE audit_events SET {column} = :text WHERE seq = :seq", text=text, seq=seq)],
    st.sampled_from(_COLUMNS),
    _SEQ,
    _TEXT,
)
other_id = st.builds(
    lambda seq, text: [_do("UPDATE audit_events SET id = :text WHERE seq = :seq", text=text, seq=seq)], _SEQ, _TEXT
)
at_another_time = st.builds(
    lambda seq, ms: [_do("UPDATE audit_events SET at_ms = :ms WHERE seq = :seq", ms=ms, seq=seq)],
    _SEQ,
    st.integers(-(2**40), 2**60).filter(lambda ms: not NOW_MS <= ms < NOW_MS + _ROWS),
)
removed = st.builds(
    lambda first, last: [_do("DELETE FROM audit_events WHERE seq BETWEEN :a AND :b", a=first, b=max(first, last))],
    _SEQ,
    _SEQ,
)
reordered = st.builds(_swap, _SEQ, _SEQ)
moved = st.builds(
    lambda seq, to: [_do("UPDATE audit_events SET seq = :to WHERE seq = :seq", to=to, seq=seq)],
    _SEQ,
    st.integers(-(2**62), 0) | st.integers(_ROWS + 1, 2**62),
)
headless = st.just([_do("DELETE FROM audit_head")])
tampering = st.one_of(altered, other_id, at_another_time, removed, reordered, moved, headless)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(tampering, min_size=1, max_size=3))
async def test_no_change_of_a_row_goes_unseen(
    sqlite_stores: Stores, acts: list[list[tuple[Statement, dict[str, object]]]]
) -> None:
    main = sqlite_stores.main
    if await main.fetch_one(_do("SELECT 1 AS one FROM audit_events")[0], {}) is None:
        for number in range(_ROWS):
            event = NewAudit(action="token.create", actor="admin", object_id=f"t{number}", after='{"a": 1}')
            await audit.append(main, event, NOW_MS + number)
    assert await audit.verify(main) is None
    before = await _content(main)

    try:
        async with main.transaction() as tx:
            for act in acts:
                for statement, values in act:
                    await tx.execute(statement, values)
            is_changed = await _content(tx) != before
            found = await audit.verify(tx)
            raise _Undo
    except Conflict:
        return  # two rows at one place: the database itself refuses that
    except _Undo:
        assert (found is not None) is is_changed


async def _content(on: Connection) -> bytes:
    columns = ", ".join(AuditRow.__struct_fields__)
    rows = await on.fetch_all(_do(f"SELECT {columns} FROM audit_events ORDER BY seq")[0], {})
    head = await on.fetch_all(_do("SELECT seq, hash FROM audit_head")[0], {})
    return msgspec.json.encode([[dict(row) for row in rows], [dict(row) for row in head]])

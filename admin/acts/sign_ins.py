"""Sign-ins in the audit log: each that succeeded, and the refused ones without letting a stranger fill the disk."""

import logging
from collections import OrderedDict

from admin.acts.actor import Actor, Target, audit_row, record_refusal
from config.clock import Clock
from config.logs import log
from sql.errors import StoreError
from sql.repositories import audit
from sql.rows import Outcome
from sql.stores import Stores

_logger = logging.getLogger(__name__)

_WINDOW_MS = 60_000
_ROWS_PER_WINDOW = 60  # of all addresses together: at most 86,400 rows a day, whatever a botnet does
_MAX_ADDRESSES = 10_000  # about 2 MB; beyond it the address that was silent longest is forgotten


async def record_sign_in(
    stores: Stores, clock: Clock, actor: Actor, *, outcome: Outcome = "success", reason: str | None = None
) -> None:
    """A browser's sign-in. For refused ones use RefusedSignIns, which bounds their number."""
    await _append(stores, clock, actor, "admin.login", outcome, reason)


async def record_sign_out(stores: Stores, clock: Clock, actor: Actor) -> None:
    await _append(stores, clock, actor, "admin.logout", "success", None)


async def _append(
    stores: Stores, clock: Clock, actor: Actor, action: str, outcome: Outcome, reason: str | None
) -> None:
    row = audit_row(actor, action, Target(kind="session"), outcome=outcome, reason=reason)
    async with stores.main.transaction() as tx:
        await audit.append(tx, row, clock.now_ms())


class RefusedSignIns:
    """Audits refused credentials: one row a minute and address, saying how many have been refused since the last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()
        """Address -> (when its last row was written, refusals since then)."""
        self._window: tuple[int, int] = (0, 0)
        """When it began, rows written in it."""

    async def record(self, stores: Stores, actor: Actor, action: str) -> None:
        """Fails open: a refusal stands also while the database is away; the log has it then."""
        count = self.due(actor.client_ip or "")
        if not count:
            return
        reason = f"{count} refused since the last row of this address" if count > 1 else "wrong credential"
        log(_logger, logging.WARNING, "sign-in refused", action=action, client_ip=actor.client_ip, count=count)
        target = Target(kind="session")
        try:
            await record_refusal(stores, self._clock, actor, action, target, outcome="denied", reason=reason)
        except StoreError as error:
            log(_logger, logging.ERROR, "refused sign-in not audited", client_ip=actor.client_ip, reason=str(error))

    def due(self, address: str) -> int:
        """Counts a refusal; returns how many a row written now would stand for, 0 for no row yet."""
        now = self._clock.monotonic_ns() // 1_000_000
        at, count = self._counts.pop(address, (None, 0))
        is_due = (at is None or now - at >= _WINDOW_MS) and self._has_room(now)
        self._counts[address] = (now, 0) if is_due else (now - _WINDOW_MS if at is None else at, count + 1)
        while len(self._counts) > _MAX_ADDRESSES:
            self._counts.popitem(last=False)
        return count + 1 if is_due else 0

    def _has_room(self, now_ms: int) -> bool:
        began, rows = self._window
        if now_ms - began >= _WINDOW_MS:
            began, rows = now_ms, 0
        self._window = (began, min(rows + 1, _ROWS_PER_WINDOW))
        return rows < _ROWS_PER_WINDOW

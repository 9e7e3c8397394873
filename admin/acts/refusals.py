"""What was refused, in the audit log, without letting a stranger fill the disk.

One row a minute for each address, doer and action, which says how many there were since the last; and so many rows a
minute in all. What is left out is counted, and told by the next row.
"""

import logging
from collections import OrderedDict
from typing import Final

from admin.acts.actor import Actor, Target, record_refusal
from config.clock import Clock
from config.logs import log
from sql.errors import StoreError
from sql.stores import Stores

_logger = logging.getLogger(__name__)

WRONG_CREDENTIAL: Final = "wrong credential"
_WINDOW_MS: Final = 60_000
_ROWS_PER_WINDOW: Final = 60  # of all addresses together: at most 86,400 rows a day and process, whatever a botnet does
_MAX_KEYS: Final = 10_000  # about 2 MB; beyond it the one that was silent longest is forgotten


class Refusals:
    """Sign-ins with a wrong token, addresses that have to wait, missing scopes, forged forms."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: OrderedDict[tuple[str, ...], tuple[int, int]] = OrderedDict()
        """Address, doer and action -> (when its last row was written, refusals since then)."""
        self._window: tuple[int, int] = (0, 0)
        """When it began, rows written in it."""

    async def record(self, stores: Stores, actor: Actor, action: str, why: str) -> None:
        """Fails open: a refusal stands also while the database is away; the log has it then.

        `why` never holds what was shown.
        """
        count = self._due((actor.client_ip or "", actor.name, action))
        if not count:
            return
        reason = f"{why}; {count} refused since the last row of this address" if count > 1 else why
        log(_logger, logging.WARNING, "refused", action=action, client_ip=actor.client_ip, count=count, reason=why)
        target = Target(kind=action.partition(".")[0])
        try:
            await record_refusal(stores, self._clock, actor, action, target, outcome="denied", reason=reason)
        except StoreError as error:
            log(_logger, logging.ERROR, "refusal not audited", client_ip=actor.client_ip, reason=str(error))

    def _due(self, key: tuple[str, ...]) -> int:
        """Counts a refusal; returns how many a row written now would stand for, 0 for no row yet."""
        now = self._clock.monotonic_ns() // 1_000_000
        at, count = self._counts.pop(key, (None, 0))
        is_due = (at is None or now - at >= _WINDOW_MS) and self._has_room(now)
        self._counts[key] = (now, 0) if is_due else (now - _WINDOW_MS if at is None else at, count + 1)
        while len(self._counts) > _MAX_KEYS:
            self._counts.popitem(last=False)
        return count + 1 if is_due else 0

    def _has_room(self, now_ms: int) -> bool:
        began, rows = self._window
        if now_ms - began >= _WINDOW_MS:
            began, rows = now_ms, 0
        self._window = (began, min(rows + 1, _ROWS_PER_WINDOW))
        return rows < _ROWS_PER_WINDOW

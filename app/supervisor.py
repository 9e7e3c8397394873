"""PID 1 of the container: starts the others, restarts whatever dies, and drains them in order when told to stop.

No asyncio and no threads of its own: one loop that sleeps until a signal comes or a restart is due. A child that
refuses its configuration (exit code 2) stops the whole server; it has printed why.

    SIGTERM ──► proxy (running replies end) ──► admin ──► demo ──► keeper (spool into the bus, bus into the backends)
"""

import logging
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from types import FrameType

from msgspec import Struct

from app.children import Ended, become_subreaper, reap, signal_group, signal_one, spawn
from app.ports import answers
from config.addresses import Address
from config.logs import log

logger = logging.getLogger(__name__)

REFUSED_CONFIGURATION = 2
_FIRST_BACKOFF_S = 0.1
_LONGEST_BACKOFF_S = 5.0
_STEADY_AFTER_S = 3.0  # a child that lived this long starts its backoff anew
_LOOK_FOR_PORT_S = 0.05
_SAME_STOP_S = 1.0


class ChildSpec(Struct, frozen=True, kw_only=True):
    name: str
    argv: tuple[str, ...]
    stop_share: float
    """Part of the drain budget, from its start, after which this child is killed; also the order of stopping."""
    listens: Address | None = None
    """Where it can be reached once it is up."""
    once: bool = False
    """Ends by itself: not restarted after exit code 0."""


class Child:
    """One spec and the process that runs it, or the time at which it is started again."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.pid: int | None = None
        self.due: float | None = 0.0
        self._started = 0.0
        self._deaths = 0

    def start(self, environ: Mapping[str, str], now: float) -> None:
        """Tries again later when the system has no process to give."""
        self._started = now
        try:
            self.pid, self.due = spawn(self.spec.argv, environ), None
        except OSError as error:
            log(logger, logging.ERROR, f"{self.spec.name} cannot be started: {error.strerror}")
            self.ended(1, now)

    def ended(self, code: int, now: float) -> None:
        self.pid = None
        if self.spec.once and code == 0:
            return
        self._deaths = 0 if now - self._started > _STEADY_AFTER_S else self._deaths + 1
        self.due = now + restart_delay_s(self._deaths)


class Supervisor:
    def __init__(self, specs: Sequence[ChildSpec], environ: Mapping[str, str], drain_s: float) -> None:
        self._children = [Child(spec) for spec in specs]
        self._environ = environ
        self._drain_s = drain_s
        self._stops = 0
        self._first_stop = 0.0
        self._refused = False
        self._announced = False
        self._wakeup: socket.socket | None = None

    def run(self) -> int:
        """Until SIGTERM or SIGINT, or until a child refuses its configuration. Returns the exit code."""
        become_subreaper()
        self._watch_signals()
        began = time.monotonic()
        while not self._is_stopping:
            self._start_due()
            self._sleep(self._until_next())
            self._reap()
            self._announce(began)
        undisturbed = self._drain()
        if self._refused:
            return REFUSED_CONFIGURATION
        return 0 if undisturbed else 1

    @property
    def _is_stopping(self) -> bool:
        return self._refused or self._stops > 0

    def _watch_signals(self) -> None:
        """Signals only wake the loop: the handler runs between two of its steps, so nothing races."""
        self._wakeup, writer = socket.socketpair()
        self._wakeup.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """A second signal ends the drain, unless it is the same one by another way (a terminal's and make's)."""
        now = time.monotonic()
        if not self._stops:
            self._first_stop = now
        elif now - self._first_stop <= _SAME_STOP_S:
            return
        self._stops += 1

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.pid is None and child.due is not None and child.due <= now:
                child.start(self._environ, now)
                log(logger, logging.DEBUG, f"{child.spec.name} started", pid=child.pid)

    def _until_next(self) -> float | None:
        if not self._announced:
            return _LOOK_FOR_PORT_S
        dues = [child.due for child in self._children if child.due is not None]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _sleep(self, timeout_s: float | None) -> None:
        assert self._wakeup is not None  # noqa: S101  # set by _watch_signals, before the first sleep
        if select.select([self._wakeup], [], [], timeout_s)[0]:
            self._wakeup.recv(4096)

    def _reap(self) -> None:
        while ended := reap():
            child = next((c for c in self._children if c.pid == ended.pid), None)
            if child is not None:  # else an orphan that we adopted
                self._note_end(child, ended)

    def _note_end(self, child: Child, ended: Ended) -> None:
        child.ended(ended.code, time.monotonic())
        if self._is_stopping or child.due is None:
            return
        if ended.code == REFUSED_CONFIGURATION:
            self._refused = True
            log(logger, logging.ERROR, f"{child.spec.name} refuses its configuration; stopping")
        else:
            delay_ms = max(0, round((child.due - time.monotonic()) * 1000))
            log(
                logger,
                logging.WARNING,
                f"{child.spec.name} died; restarting",
                pid=ended.pid,
                code=ended.code,
                in_ms=delay_ms,
            )

    def _announce(self, began: float) -> None:
        """Once, when every port answers."""
        if self._announced:
            return
        listening = [child.spec.listens for child in self._children if child.spec.listens is not None]
        if all(answers(address, _LOOK_FOR_PORT_S) for address in listening):
            self._announced = True
            took_ms = round((time.monotonic() - began) * 1000)
            log(logger, logging.INFO, "up", listens=[str(a) for a in listening], took_ms=took_ms)

    def _drain(self) -> bool:
        """Stops stage by stage. False when a second signal cut it short."""
        signals, began = min(self._stops, 1), time.monotonic()
        for share in sorted({child.spec.stop_share for child in self._children}):
            stage = [c for c in self._children if c.spec.stop_share == share]
            for child in stage:
                if child.pid is not None:
                    signal_one(child.pid, signal.SIGTERM)
            deadline = began + self._drain_s * share
            while any(c.pid is not None for c in stage) and time.monotonic() < deadline and self._stops == signals:
                self._sleep(max(0.0, deadline - time.monotonic()))
                self._reap()
            self._kill_rest(stage)
        log(logger, logging.INFO, "stopped", took_ms=round((time.monotonic() - began) * 1000))
        return self._stops == signals

    def _kill_rest(self, stage: Sequence[Child]) -> None:
        late = [child for child in stage if child.pid is not None]
        for child in late:
            log(logger, logging.WARNING, f"{child.spec.name} did not stop in time; killed", pid=child.pid)
            signal_group(child.pid or 0, signal.SIGKILL)
        while any(child.pid is not None for child in late):
            self._sleep(1.0)
            self._reap()


def restart_delay_s(deaths: int) -> float:
    """Backoff after the n-th death in a row: the first restart is at once, then 0.1 s doubling to 5 s."""
    return 0.0 if deaths <= 1 else min(_LONGEST_BACKOFF_S, _FIRST_BACKOFF_S * 2 ** min(deaths - 2, 10))

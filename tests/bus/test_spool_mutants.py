"""Bugs of the usual kinds, put into spool and relay one at a time: a model or a test that misses its one is broken.

A mutant is a method with one piece of its text replaced. Where that text is gone, find the bug's new place.
"""

import asyncio
import inspect
import sys
import textwrap
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec import Struct

from bus import journal
from bus.errors import SpoolFull
from bus.journal import Journal
from bus.quota import Quota
from bus.reader import SpoolReader
from bus.segments import Segment
from bus.spool_root import SpoolRoot
from bus.tail import Tail
from tests.bus import test_journal, test_relay, test_relay_retention
from tests.bus.test_spool_model import SpoolMachine
from tests.support.spools import MemoryBus

HUNT = settings(
    max_examples=3000,  # stops at the first find
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.generate],
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
LONGEST_S = 60.0


class Mutant(Struct, frozen=True):
    of: Callable[..., Any]
    was: str
    becomes: str

    def put(self, patch: pytest.MonkeyPatch) -> None:
        """In place of the method."""
        text = textwrap.dedent(inspect.getsource(self.of))
        assert text.count(self.was) == 1, f"{self.of.__qualname__} has changed"
        made: dict[str, Any] = {}
        code = compile(f"from __future__ import annotations\n{text.replace(self.was, self.becomes)}", "mutant", "exec")
        exec(code, self.of.__globals__, made)
        owner, _, name = self.of.__qualname__.partition(".")
        patch.setattr(getattr(sys.modules[self.of.__module__], owner), name, made[name])


FOUND_BY_THE_MODEL = {
    "writes nothing anew after a refused fsync": Mutant(
        Journal._first_frames, "list(self._unsynced) if self._is_suspect else []", "[]"
    ),
    "writes anew behind the open exchanges": Mutant(
        Journal._first_frames,
        "*(frame for _, frame in again), *self._open.values()",
        "*self._open.values(), *(frame for _, frame in again)",
    ),
    "does not repeat open exchanges": Mutant(Journal._first_frames, ", *self._open.values()]", "]"),
    "lets a head take over too late": Mutant(
        Journal._first_frames, "again[0][0] if again else self._next_seq", "self._next_seq"
    ),
    "forgets what was refused": Mutant(
        Journal._sync_once, "        return False\n", "        self._forget_through(through)\n        return False\n"
    ),
    "syncs a refused segment again": Mutant(
        Journal._sync_once, "if self._is_dirty and not self._is_suspect else", "if self._is_dirty else"
    ),
    "syncs a segment without its name": Mutant(Segment.sync, "if not self._is_named_durably:", "if False:"),
    "numbers interrupted events anew": Mutant(Tail._make, "if self.point.interrupted_from < 0:", "if True:"),
    "reads on in a segment that was given up": Mutant(
        SpoolReader._look, "limit if base is None else min(limit, base)", "_ENDLESS"
    ),
    "seeks the last segment": Mutant(SpoolReader.seek, "fitting[-1] if fitting", "known[-1][0] if fitting"),
    "never steps over damage": Mutant(SpoolReader._fill, "is_sealed=is_dead or bool(later)", "is_sealed=False"),
}

FOUND_BY_A_TEST: dict[str, tuple[Mutant, Callable[..., Any]]] = {
    "takes for synced what came meanwhile": (
        Mutant(Journal._sync_once, "_forget_through(through)", "_forget_through(self._next_seq - 1)"),
        test_journal.test_what_is_written_during_a_sync_is_not_taken_for_synced,
    ),
    "leaves dropped exchanges open": (
        Mutant(Journal.dropped, "self._open.pop(event_id, None)", "self._open.get(event_id)"),
        test_journal.test_dropped_exchanges_are_not_open_any_more_even_without_room_to_note_it,
    ),
    "takes the epoch that there was": (
        Mutant(Tail.take_epoch, "above + 1", "max(1, above)"),
        test_relay.test_each_opening_takes_a_higher_epoch,
    ),
    "makes interrupted events of what may not be on disk": (
        Mutant(Tail._make, "sync_segments(self.folder)", "pass"),
        test_relay.test_a_dead_spool_is_on_disk_before_its_interrupted_events_are_in_the_bus,
    ),
    "takes back a spool that another owns": (
        Mutant(Tail.rewind, "self.is_asked = self._was_known = True", "self.is_asked = True"),
        test_relay.test_being_fenced_at_upkeep_is_no_reason_to_take_the_spool_back,
    ),
    "deletes a segment too early": (
        Mutant(SpoolReader.removable, "_ENDLESS) - 1 > through", "_ENDLESS) - 5 > through"),
        test_relay_retention.test_a_segment_stays_as_long_as_one_of_its_events_is_not_delivered,
    ),
    "deletes before the checkpoint is on disk": (
        Mutant(Tail.unlink_through, "self._slots.write(self.point, durable=True)", "pass"),
        test_relay_retention.test_the_checkpoint_is_on_disk_before_a_segment_is_deleted,
    ),
    "counts a loss at each reading": (
        Mutant(Tail._count_lost, "[seq for seq in lost if seq > self.point.lost_through]", "list(lost)"),
        test_relay_retention.test_a_rotten_frame_costs_one_event_and_is_counted_once,
    ),
    "adds a spool to the totals twice": (
        Mutant(SpoolRoot.set_aside, "if self.totals.last != tail.spool:", "if True:"),
        test_relay_retention.test_a_death_while_a_spool_is_retired_counts_it_once_and_appends_nothing_anew,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", FOUND_BY_THE_MODEL)
def test_the_model_finds_a_spool_that(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FOUND_BY_THE_MODEL[bug].put(monkeypatch)

    with pytest.raises((AssertionError, OSError, ExceptionGroup)):
        run_state_machine_as_test(SpoolMachine, settings=HUNT)


@pytest.mark.slow
@pytest.mark.parametrize("bug", FOUND_BY_A_TEST)
def test_a_test_finds_a_spool_that(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant, finder = FOUND_BY_A_TEST[bug]
    (tmp_path / "sound").mkdir()
    run(finder, tmp_path / "sound")  # as it is, it passes
    mutant.put(monkeypatch)

    (tmp_path / "mutant").mkdir()
    with pytest.raises((AssertionError, OSError, SpoolFull, TimeoutError, ExceptionGroup, pytest.fail.Exception)):
        run(finder, tmp_path / "mutant")


def run(test: Callable[..., Any], folder: Path) -> None:
    """With what its fixtures and parameters would give."""
    patch = pytest.MonkeyPatch()
    patch.setattr(journal, "_RETRY_S", 0.0)
    given: dict[str, Callable[[], Any]] = {
        "tmp_path": lambda: folder,
        "monkeypatch": lambda: patch,
        "root": lambda: folder / "spool",
        "bus": MemoryBus,
        "journal": lambda: stack.enter_context(closing(_journal(folder))),
        "dies_at": lambda: "bus.spool_root.set_aside",
    }
    with ExitStack() as stack:
        stack.callback(patch.undo)
        result = test(**{name: given[name]() for name in inspect.signature(test).parameters})
        if result is not None:
            asyncio.run(asyncio.wait_for(result, LONGEST_S))


def _journal(folder: Path) -> Journal:
    return Journal(folder, test_journal.SPOOL, segment_bytes=64 * 1024, quota=Quota(folder, 1 << 30))

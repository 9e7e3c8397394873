"""The spool against a model of a machine that dies: processes are killed, power fails, disks fill and refuse to sync.

Real files; the model knows what was synced and takes the rest away, sector by sector, when the power goes.
"""

import errno
import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec import Struct, field

from bus import journal as journal_module
from bus import segments
from bus.bus import AppendStatus
from bus.codec import decode_finished, encode
from bus.errors import SpoolFull
from bus.journal import Journal
from bus.ownership import make_folder, spools
from bus.quota import Quota
from bus.tail import Tail
from config.ids import id_bytes, new_id
from tests.support.spools import MemoryBus, began, finished

SECTOR = 512
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # the platter is the model's


class Disk:
    """What of each file is on the platter."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.names: set[str] = set()
        self.is_full = False
        self.refusals = 0
        self.given_up: set[str] = set()
        self.chance = random.Random(0)

    def fdatasync(self, fd: int) -> None:
        path = str(Path(f"/proc/self/fd/{fd}").readlink())
        assert path not in self.given_up, "synced again after a refusal"
        if self.refusals:
            self.refusals -= 1
            self.given_up.add(path)
            self._lose(Path(path))
            raise OSError(errno.EIO, "I/O error")
        self.contents[path] = Path(path).read_bytes()

    def sync_folder(self, folder: Path) -> None:
        self.names |= {str(path) for path in folder.iterdir()}

    def allocate(self, fd: int, offset: int, size: int) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.ftruncate(fd, size)

    def fail_power(self, root: Path) -> None:
        for path in root.rglob("*.seg"):
            if str(path) not in self.names and self.chance.random() < 0.5:
                path.unlink()
            else:
                self._lose(path)

    def _lose(self, path: Path) -> None:
        """Any subset of the sectors that were not synced goes back to what is on the platter."""
        now = bytearray(path.read_bytes())
        kept = self.contents.get(str(path), b"").ljust(len(now), b"\0")
        keeps_all = self.chance.random() < 0.2
        for at in range(0, len(now), SECTOR):
            if now[at : at + SECTOR] != kept[at : at + SECTOR] and not keeps_all and self.chance.random() < 0.5:
                now[at : at + SECTOR] = kept[at : at + SECTOR]
        path.write_bytes(now)


class Life(Struct):
    """One worker's spool, and what it may be held to."""

    journal: Journal
    spool: bytes
    lock: int
    opened: set[bytes] = field(default_factory=set)
    seqs: dict[int, bytes] = field(default_factory=dict)
    may_miss: set[bytes] = field(default_factory=set)
    has_lost_pages: bool = False


class SpoolMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def boot(self, seed: int) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="spool-model-", dir=MEMORY))
        self.disk = Disk()
        self.disk.chance = random.Random(seed)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(segments, "fdatasync", self.disk.fdatasync)
        self.patch.setattr(segments, "sync_folder", self.disk.sync_folder)
        self.patch.setattr(segments, "allocate", self.disk.allocate)
        self.patch.setattr(os, "fsync", lambda fd: None)
        self.patch.setattr(journal_module, "_RETRY_S", 0.0)
        self.bus = MemoryBus()
        self.tails: dict[bytes, Tail] = {}
        self.must: set[bytes] = set()
        self.may: set[bytes] = set()
        self.never_synced: set[bytes] = set()
        self.must_interrupt: set[bytes] = set()
        self.may_interrupt: set[bytes] = set()
        self.life = self.start()

    def start(self) -> Life:
        was_full, self.disk.is_full = self.disk.is_full, False
        spool, folder, lock = make_folder(self.root)
        journal = Journal(folder, spool, segment_bytes=8 * 1024, quota=Quota(self.root, 1 << 30))
        self.disk.is_full = was_full
        return Life(journal, spool, lock)

    @rule(
        acts=st.lists(
            st.tuples(st.sampled_from(["begin", "finish", "finish", "end"]), st.integers(0, 3000)), max_size=8
        )
    )
    def work(self, acts: list[tuple[str, int]]) -> None:
        for act, size in acts:
            if act == "begin":
                self.begin()
            else:
                ends = act == "end" and self.life.opened
                self.finish(min(self.life.opened) if ends else id_bytes(new_id()), size)

    def begin(self) -> None:
        event_id = id_bytes(new_id())
        try:
            self.life.journal.began(event_id, encode(began()), 1)
            self.life.opened.add(event_id)
        except SpoolFull:
            assert self.disk.is_full

    def finish(self, event_id: bytes, size: int) -> None:
        self.life.opened.discard(event_id)
        try:
            seq = self.life.journal.finished(event_id, encode(finished(body=b"x" * size)), 1)
            self.life.seqs[seq] = event_id
        except SpoolFull:
            assert self.disk.is_full
            self.life.journal.dropped(event_id, 1)
            self.may_interrupt.add(event_id)

    @rule(refusals=st.sampled_from([0, 1, 1, 2]))
    def sync(self, refusals: int) -> None:
        self.disk.refusals = refusals
        is_synced = self.life.journal.sync()
        self.disk.refusals = 0
        if is_synced:
            assert self.life.journal.synced_through == max(self.life.seqs, default=-1)
            self.life.may_miss, self.life.has_lost_pages = set(), False
        else:  # pages are gone, and until a segment for writing anew is found only this process knows them
            self.life.has_lost_pages = True
            self.life.may_miss = {i for seq, i in self.life.seqs.items() if seq > self.life.journal.synced_through}

    @rule(is_full=st.booleans())
    def fill_the_disk(self, is_full: bool) -> None:
        self.disk.is_full = is_full

    @rule(of=st.sampled_from(["kill", "kill", "power"]))
    def die(self, of: str) -> None:
        if of == "power":
            self.cut_the_power()
        else:
            self.kill_the_worker()

    def kill_the_worker(self) -> None:
        life = self.life
        self.may |= life.may_miss
        self.must |= set(life.seqs.values()) - life.may_miss
        self.never_synced |= {i for seq, i in life.seqs.items() if seq > life.journal.synced_through}
        self.may_interrupt |= life.may_miss | life.opened
        if not life.has_lost_pages:
            self.must_interrupt |= life.opened
        os.close(life.lock)
        self.disk.given_up.clear()
        self.life = self.start()

    def cut_the_power(self) -> None:
        life = self.life
        synced = {event_id for seq, event_id in life.seqs.items() if seq <= life.journal.synced_through}
        self.must |= synced
        self.may |= set(life.seqs.values()) - synced
        self.may_interrupt |= set(life.seqs.values()) | life.opened
        os.close(life.lock)
        self.disk.given_up.clear()
        self.stop_the_relay()
        self.disk.fail_power(self.root)
        self.weaken_what_died_before()
        self.life = self.start()

    def weaken_what_died_before(self) -> None:
        """Spools of killed workers lay in the page cache: what was not synced may be gone, but for what the bus has."""
        gone = (self.must & self.never_synced) - set(self.bus.event_ids())
        self.must -= gone
        self.may |= gone
        self.may_interrupt |= self.must_interrupt | self.never_synced
        self.must_interrupt.clear()

    @rule(outcome=st.sampled_from(["", "", "", "unknown", "refused"]), entries=st.integers(1, 20))
    def relay(self, outcome: str, entries: int) -> None:
        for spool, folder in spools(self.root).items():
            tail = self.tails.get(spool) or self.open_tail(spool, folder)
            self.move(tail, outcome, entries)

    def open_tail(self, spool: bytes, folder: Path) -> Tail:
        """Its patience is endless here: a worker that finds room again only after long counts, too."""
        return self.tails.setdefault(spool, Tail(folder, spool, patience_s=1e9))

    def move(self, tail: Tail, outcome: str, entries: int) -> bool:
        if not tail.is_asked:
            asked = self.bus._append(tail.spool, tail.point.epoch, tail.point.high_water + 1, [])
            assert asked.status is not AppendStatus.FENCED
            tail.rewind(asked.high_water)
        batch = tail.read(entries, 1 << 20)
        if batch is None:
            return False
        if outcome != "refused":
            result = self.bus._append(tail.spool, tail.point.epoch, batch.first_seq, batch.entries)
            assert result.status is AppendStatus.OK
            tail.appended(result.high_water)
        if outcome:
            tail.is_asked = False
        return True

    @rule()
    def release(self) -> None:
        for tail in self.tails.values():
            tail.keep_point()
            if tail.is_asked:
                tail.unlink_through(tail.point.high_water)

    @precondition(lambda self: self.tails)
    @rule()
    def stop_the_relay(self) -> None:
        for tail in self.tails.values():
            tail.close()
        self.tails.clear()

    @rule()
    def the_open_segment_and_the_sealed_ones_can_be_read(self) -> None:
        for spool, folder in spools(self.root).items():
            if spool not in self.tails:
                self.open_tail(spool, folder)
            assert self.tails[spool].count_left() >= 0

    def teardown(self) -> None:
        if not hasattr(self, "patch"):
            return
        try:
            self.kill_the_worker()
            os.close(self.life.lock)
            self.stop_the_relay()
            self.relay_what_is_left()
        finally:
            self.patch.undo()  # whatever was found: others use the same disk
            shutil.rmtree(self.root)
        self.check()

    def relay_what_is_left(self) -> None:
        for spool, folder in spools(self.root).items():
            tail = Tail(folder, spool, patience_s=1e9)
            while self.move(tail, "", 100):
                pass
            assert tail.is_drained()
            assert tail.count_left() == 0
            tail.close()

    def check(self) -> None:
        events = [decode_finished(payload) for _, _, _, payload in self.bus.now.stream]
        ids = self.bus.event_ids()
        real = [event_id for event_id, event in zip(ids, events, strict=True) if event.cut != "interrupted"]
        made = [event_id for event_id, event in zip(ids, events, strict=True) if event.cut == "interrupted"]
        assert len(real) == len(set(real)), "appended twice"
        assert len(made) == len(set(made)), "interrupted twice"
        assert self.must <= set(real), "lost"
        assert set(real) <= self.must | self.may, "invented"
        assert self.must_interrupt <= set(made), "an open exchange was forgotten"
        assert set(made) <= self.must_interrupt | self.may_interrupt, "interrupted, but it had ended"


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(max_examples=100, stateful_step_count=40)
pytest.mark.slow(TestSpoolMachine)

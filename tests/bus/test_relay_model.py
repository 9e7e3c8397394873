"""The relay against a bus with two histories: whatever fails or dies, in the end each event is in the stream once.

Real segments, a real Relay taken step by step, and a bus in memory whose replica lags.
"""

import asyncio
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec import Struct, field

from bus.codec import decode_finished, encode
from bus.journal import Journal
from bus.ownership import make_folder
from bus.quota import Quota
from bus.relay import Relay
from config.ids import id_bytes, new_id
from tests.support.spools import MemoryBus, began, finished

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


class Worker(Struct):
    journal: Journal
    spool: bytes
    lock: int
    opened: list[bytes] = field(default_factory=list)


class RelayMachine(RuleBasedStateMachine):
    @initialize(retain=st.sampled_from(["delivered", "replicated"]), batch=st.integers(1, 7))
    def boot(self, retain: str, batch: int) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda fd: None)
        self.root = Path(tempfile.mkdtemp(prefix="relay-model-", dir=MEMORY))
        self.loop = asyncio.Runner()
        self.bus, self.retain, self.batch = MemoryBus(), retain, batch
        self.bus.delivered = {}
        self.replica_delivered: dict[bytes, int] = {}
        self.workers: list[Worker] = []
        self.finished: set[bytes] = set()
        self.interrupted: set[bytes] = set()
        self.delivered: set[bytes] = set()
        self.was_in_bus: set[bytes] = set()
        self.has_failed_over = False
        self.open_relay()

    def open_relay(self) -> None:
        self.relay = Relay(
            self.root,
            self.bus,
            retain=self.retain,  # type: ignore[arg-type]
            poll_ms=1,
            upkeep_ms=10**9,
            backoff_ms=1,
            backoff_max_ms=1,
            max_batch=self.batch,
        )

    @precondition(lambda self: len(self.workers) < 3)
    @rule()
    def start_a_worker(self) -> None:
        spool, folder, lock = make_folder(self.root)
        self.workers.append(
            Worker(Journal(folder, spool, segment_bytes=2048, quota=Quota(self.root, 1 << 30)), spool, lock)
        )

    @precondition(lambda self: self.workers)
    @rule(at=st.integers(0, 2), acts=st.lists(st.sampled_from(["begin", "end", "finish"]), min_size=1, max_size=12))
    def record(self, at: int, acts: list[str]) -> None:
        worker = self.workers[at % len(self.workers)]
        for act in acts:
            event_id = id_bytes(new_id())
            if act == "begin":
                worker.journal.began(event_id, encode(began()), 1)
                worker.opened.append(event_id)
            else:
                event_id = worker.opened.pop() if act == "end" and worker.opened else event_id
                worker.journal.finished(event_id, encode(finished()), 1)
                self.finished.add(event_id)

    @precondition(lambda self: self.workers)
    @rule(at=st.integers(0, 2))
    def kill_a_worker(self, at: int) -> None:
        worker = self.workers.pop(at % len(self.workers))
        self.interrupted |= set(worker.opened)
        os.close(worker.lock)

    @rule(faults=st.lists(st.sampled_from(["", "", "unknown", "refused"]), max_size=4), upkeep=st.booleans())
    def step(self, faults: list[str], upkeep: bool) -> None:
        self.bus.faults = faults
        self.loop.run(self.relay._step(upkeep=upkeep))
        self.bus.faults = []
        self.was_in_bus |= set(self.bus.event_ids())

    @rule()
    def kill_the_relay(self) -> None:
        self.relay.close()
        self.open_relay()

    @rule()
    def replicate(self) -> None:
        self.bus.replicate()
        self.replica_delivered = dict(self.bus.delivered or {})

    @rule(to_nothing=st.booleans())
    def fail_over(self, to_nothing: bool) -> None:
        self.has_failed_over = True
        if to_nothing:
            self.bus.replica = type(self.bus.now)()
            self.replica_delivered = {}
        self.bus.fail_over()
        self.bus.delivered = dict(self.replica_delivered)

    @rule(share=st.sampled_from([0.3, 0.7, 1.0]))
    def deliver(self, share: float) -> None:
        assert self.bus.delivered is not None
        for spool, (_, high_water) in self.bus.now.producers.items():
            through = max(self.bus.delivered.get(spool, -1), int((high_water + 1) * share) - 1)
            self.bus.delivered[spool] = through
            self.delivered |= {e for s, seq, e, _ in self.bus.now.stream if s == spool and seq <= through}

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        while self.workers:
            self.kill_a_worker(0)
        for _ in range(2):
            assert self.loop.run(self.relay.drain(20)) == 0
        self.relay.close()
        self.loop.close()
        self.patch.undo()
        shutil.rmtree(self.root)
        self.check()

    def check(self) -> None:
        ids = self.bus.event_ids()
        made = {e for _, _, e, payload in self.bus.now.stream if decode_finished(payload).cut == "interrupted"}
        missing = (self.finished | self.interrupted) - set(ids)
        assert len(ids) == len(set(ids)), "appended twice"
        assert made <= self.interrupted, "an exchange that had ended was interrupted"
        assert set(ids) - made <= self.finished, "invented"
        assert not missing or self.has_failed_over, "lost"
        assert missing <= (self.delivered if self.retain == "delivered" else self.was_in_bus), "lost"


TestRelayMachine = RelayMachine.TestCase
TestRelayMachine.settings = settings(max_examples=100, stateful_step_count=40)
pytest.mark.slow(TestRelayMachine)

"""Where things lie, ids that sort by time, and the clock."""

import re
import time
import uuid
from pathlib import Path

from config import ids, paths
from config.clock import SystemClock
from config.settings import Settings


def test_everything_lies_below_the_data_folder() -> None:
    settings = Settings(data_dir="/var/lib/llm-proxy")
    root = Path("/var/lib/llm-proxy")

    assert paths.main_db(settings) == root / "llm-proxy.db"
    assert paths.records_db(settings) == root / "records.db"
    assert paths.bus_db(settings) == root / "bus.db"
    assert paths.spool_root(settings) == root / "spool"
    assert paths.keeper_socket(settings) == root / "keeper.sock"
    assert paths.wake_socket(settings) == root / "wake.sock"
    assert paths.run_dir(settings) == root / "run"


def test_the_records_lie_beside_a_database_that_was_put_elsewhere() -> None:
    settings = Settings(data_dir="/one", database_path="/two/proxy.db")

    assert paths.main_db(settings) == Path("/two/proxy.db")
    assert paths.records_db(settings) == Path("/two/records.db")


def test_an_id_is_a_uuid_of_version_seven_and_tells_its_time() -> None:
    before = time.time_ns() // 1_000_000

    made = uuid.UUID(ids.new_id())

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_differ_and_survive_the_way_through_bytes() -> None:
    made = {ids.new_id() for _ in range(1000)}

    assert len(made) == 1000
    assert all(ids.id_text(ids.id_bytes(text)) == text for text in made)


def test_a_token_has_256_random_bits_and_is_safe_in_a_url() -> None:
    tokens = {ids.new_token() for _ in range(100)}

    assert len(tokens) == 100
    assert all(re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_the_clock_tells_the_time() -> None:
    clock = SystemClock()

    assert abs(clock.now_ms() - time.time() * 1000) < 5000
    assert clock.monotonic_ns() <= clock.monotonic_ns()

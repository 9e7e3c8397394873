"""`doctor` on a keeper whose folder for large events cannot be written."""

import os
from pathlib import Path

from app.cli.findings import examine
from bus.bus import Entry
from bus.claims import ClaimFolder
from bus.inspection import serve_inspection
from bus.redis_link import RedisLink
from bus.redis_payloads import Payloads
from bus.redis_streams import RedisStreams
from config.secret import Secret


async def test_doctor_tells_of_large_events_that_went_to_redis_whole(redis_url: str, tmp_path: Path) -> None:
    (folder := tmp_path / "claims").write_text("a file lies where the folder should be")
    payloads = Payloads(ClaimFolder(folder), above=100)
    bus = RedisStreams(RedisLink(Secret(redis_url)), "k", min_idle_ms=100, payloads=payloads)
    await bus.append(b"spool-one-------", 1, 0, [Entry(bytes(16), os.urandom(1000))])

    async with serve_inspection(tmp_path / "keeper.sock", bus):
        found = {one.name: one for one in await examine({"DATA_DIR": str(tmp_path)}, Path("/dev/null"))}

    assert found["claims"].state == "warn"
    assert found["claims"].text.startswith("1 large events")
    await bus.close()

"""A worker for tests to kill: records events as fast as it can and tells on stdout which are recorded.

python -m tests.support.spool_writer <root> <record> <segment bytes>
"""

import asyncio
import itertools
import os
import sys
from pathlib import Path

from tests.support.spools import began, finished, open_spool


async def write(root: Path, record: str, segment_bytes: int) -> None:
    spool = open_spool(root, record=record, segment_bytes=segment_bytes)
    os.write(1, f"spool {spool.folder.name}\n".encode())
    for number in itertools.count():
        event = began()
        spool.begin(event)
        os.write(1, f"began {event.event_id}\n".encode())
        size = 90_000 if number % 50 == 49 else number % 7 * 400
        await spool.finish(finished(event.event_id, body=os.urandom(size)))
        os.write(1, f"finished {event.event_id}\n".encode())


if __name__ == "__main__":
    asyncio.run(write(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))

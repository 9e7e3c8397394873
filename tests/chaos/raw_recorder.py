"""What the checker must catch: recording as many gateways do it, without a spool.

    exchange ──► XADD from the request's own path, not waited for ──► stream ──► one consumer group ──► three backends

Nobody sends again what the server did not take or has forgotten, and its own account knows of nothing that it lacks.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from config.ids import new_id
from tests.chaos.calls import chat
from tests.chaos.checker import Verdict, check
from tests.chaos.evidence import Diary, digest
from tests.chaos.ledger import Ledger
from tests.chaos.sink import LOG

_STREAM, _GROUP = b"raw", b"backends"
_GAP_S = 0.005
_AWAY = (RedisError, OSError, TimeoutError)


class RawRecorder:
    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._server: Any = Redis.from_url(url, socket_timeout=1)
        self._is_over = False
        self.sent = 0
        self.delivered: list[dict[str, bytes]] = []
        (folder / "out").mkdir()

    async def run(self, stop: asyncio.Event) -> None:
        """Calls that have all been answered, some two hundred a second, until `stop`; then waits for the stragglers."""
        async with asyncio.TaskGroup() as tasks:
            consuming = tasks.create_task(self._consume(), name="consumer")
            with Diary(self._folder, "load") as diary:
                async with asyncio.TaskGroup() as exchanges:
                    while not stop.is_set():
                        exchanges.create_task(self._exchange(diary), name="exchange")
                        await asyncio.sleep(_GAP_S)
            await self._until_quiet()
            self._is_over = True  # redis-py may take a cancellation for a time-out
            consuming.cancel()
        await self._server.aclose()

    async def _exchange(self, diary: Diary) -> None:
        self.sent += 1
        call, event_id = chat("token", f"raw-{self.sent}-"), new_id()
        diary.sent(call.request_id, call.body)
        diary.seen(event_id, call.request_id)
        diary.acked(event_id, call.request_id, 200, 0)
        fields = {"event_id": event_id, "request_id": call.request_id, "body": call.body}
        try:
            await self._server.xadd(_STREAM, fields)
        except _AWAY:
            return  # fire and forget

    async def _consume(self) -> None:
        while not self._is_over:
            try:
                await self._server.xgroup_create(_STREAM, _GROUP, "0", mkstream=True)
            except _AWAY:
                await asyncio.sleep(0.02)  # it is there already, or the server is not
            await self._read()

    async def _read(self) -> None:
        try:
            while not self._is_over:
                found = await self._server.xreadgroup(_GROUP, b"one", {_STREAM: ">"}, count=100, block=100)
                for entry_id, fields in (entry for _, entries in found or [] for entry in entries):
                    self.delivered.append({name.decode(): value for name, value in fields.items()})
                    await self._server.xack(_STREAM, _GROUP, entry_id)
        except _AWAY:
            return

    async def _until_quiet(self) -> None:
        """For two seconds nothing has come any more: longer than any time-out here."""
        before = -1
        while before != len(self.delivered):
            before = len(self.delivered)
            await asyncio.sleep(2)

    def verdict(self) -> Verdict:
        """By the same checker as every round's."""
        names, count = ("file", "database", "webhook"), len(self.delivered)
        _lay_out(self._folder, self.delivered)
        ledger = Ledger(
            recorded=count, appended=count, lost=0, dropped={}, bodies_dropped=0, interrupted=0, spools_left=0,
            open=dict.fromkeys(names, 0), delivered=dict.fromkeys(names, count), dead={},
        )  # fmt: skip
        return check(self._folder, ledger=ledger, database=self._folder / "records.db", may_drop=False)


def _lay_out(folder: Path, delivered: Sequence[dict[str, bytes]]) -> None:
    """As the three backends of a round leave it."""
    with (folder / "out" / "events.jsonl").open("wb") as file, (folder / LOG).open("w") as noted:
        for event in delivered:
            event_id, request_id = event["event_id"].decode(), event["request_id"].decode()
            metadata = {"request_id": request_id, "status": 200}
            line = {"event_id": event_id, "input": msgspec.Raw(event["body"]), "metadata": metadata}
            file.write(msgspec.json.encode(line) + b"\n")
            noted.write(f"{event_id} {request_id} {digest(event['body'])} 1 0\n")
    rows = [(event["event_id"].decode(), event["request_id"].decode()) for event in delivered]
    with closing(sqlite3.connect(folder / "records.db")) as database, database:
        database.execute("CREATE TABLE requests (event_id TEXT PRIMARY KEY, request_id TEXT, status INTEGER)")
        database.execute("CREATE TABLE request_bodies (event_id TEXT, side TEXT, data BLOB, truncated INTEGER)")
        database.executemany("INSERT OR IGNORE INTO requests VALUES (?, ?, 200)", rows)

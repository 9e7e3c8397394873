"""Lunary's ingestion: events in order of time, a result for each, and its two traps.

A second `start` fails with "already exists"; an `end` without its start changes nothing and is called a success.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.http_sink import JSON, HttpSink
from tests.support.upstream import Received, Wire

KEY = "pk-lunary-nobody-may-see"
TYPES = {"llm", "chain", "agent", "tool", "log", "embed", "retriever", "chat", "convo", "message", "thread"}


@dataclass
class Lunary(HttpSink):
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeats: int = 0
    refused: set[str] = field(default_factory=set)
    """Runs whose start its database cannot take."""
    is_broken: bool = False
    """Its database is away: every event fails, and it says 200."""

    async def behave(self, received: Received, wire: Wire) -> None:
        if received.all("authorization") != [f"Bearer {KEY}".encode()]:
            await wire.reply(401, b'{"message":"This project does not exist"}', JSON)
            return
        told = json.loads(received.body)
        if not isinstance(told, dict) or not told.get("events"):
            await wire.reply(500, b'{"message":"Missing events payload."}', JSON)
            return
        results = [self._register(event) for event in sorted(told["events"], key=lambda event: event["timestamp"])]
        await wire.reply(200, json.dumps({"results": results}).encode(), JSON)

    def _register(self, event: dict[str, Any]) -> dict[str, Any]:
        run_id = event["runId"]
        try:
            self._apply(run_id, event)
        except ValueError as error:
            return {"id": run_id, "success": False, "error": str(error)}
        return {"id": run_id, "success": True}

    def _apply(self, run_id: str, event: dict[str, Any]) -> None:
        if self.is_broken:
            raise ValueError("connect ECONNREFUSED")
        if event["type"] not in TYPES or len(run_id) != 36:
            raise ValueError("invalid input value for enum run_type")
        if event["event"] == "start":
            self._start(run_id, event)
        elif run_id in self.runs:
            self.runs[run_id] |= {**event, "started": self.runs[run_id]["timestamp"], "ended": event["timestamp"]}

    def _start(self, run_id: str, event: dict[str, Any]) -> None:
        if run_id in self.refused:
            raise ValueError("value too long for type character varying(100)")
        if run_id in self.runs:
            self.repeats += 1
            raise ValueError("Run with this ID already exists in the database.")
        self.runs[run_id] = dict(event)

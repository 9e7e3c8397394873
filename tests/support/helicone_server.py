"""Helicone's log endpoint: one record a call, kept by its request id, and 200 also for what it failed to log."""

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.support.http_sink import HttpSink
from tests.support.upstream import Received, Wire

KEY = "sk-helicone-nobody-may-see"


@dataclass
class Helicone(HttpSink):
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By request id; a second one replaces the first, as its upsert does."""
    calls: int = 0
    fails: bool = False
    """Answers 200 with an error, and logs nothing."""
    largest: int = 10 * 1024 * 1024

    async def behave(self, received: Received, wire: Wire) -> None:
        if received.all("authorization") != [f"Bearer {KEY}".encode()]:
            await wire.reply(401, b"Unauthorized")
            return
        if len(received.body) > self.largest:
            await wire.reply(400, b"Payload too large")
            return
        record = json.loads(received.body)
        if (fault := _fault_in(record)) is not None:
            await wire.reply(400, json.dumps({"error": fault}).encode())
            return
        if self.fails:
            await wire.reply(200, b'{"error":"failed to insert: connection refused"}')
            return
        self.calls += 1
        request_id = record["providerRequest"]["meta"]["Helicone-Request-Id"]
        self.records[request_id] = record
        await wire.reply(200, b"ok", (b"helicone-id", request_id.encode()))


def _fault_in(record: dict[str, Any]) -> str | None:
    """What it refuses: headers that are none, an id that is no UUID, bodies that are no objects."""
    request, response, timing = record["providerRequest"], record["providerResponse"], record["timing"]
    if not all(isinstance(v, str) and v.isascii() and v.isprintable() for v in request["meta"].values()):
        return "invalid header value"
    uuid.UUID(request["meta"]["Helicone-Request-Id"])
    if not isinstance(request["json"], dict) or not isinstance(response["json"], dict):
        return "json must be an object"
    if not request["json"].get("model"):
        return "invalid model"
    moments = [timing["startTime"], timing["endTime"]]
    if not all(0 <= m["milliseconds"] < 1000 and m["seconds"] > 1_000_000_000 for m in moments):
        return "invalid timing"
    return None

"""A receiver of webhooks as an operator would write one: it checks the signature, and does each event once."""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from typing import Any

from tests.support.http_sink import JSON, HttpSink
from tests.support.upstream import Received, Wire

SECRET = "whsec-2f6c1d0e9b8a"


@dataclass
class WebhookReceiver(HttpSink):
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Events by id."""
    repeats: int = 0
    """Events that came again."""
    keys: list[str] = field(default_factory=list)
    """Idempotency keys in the order of arrival."""
    says_409: bool = False
    """Answers a key that it has done with 409 instead of 200."""
    refused: set[str] = field(default_factory=set)
    """Ids that it cannot take; a batch with one of them is refused as a whole."""
    judged: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Results by id: with them it answers 207 and judges each event."""

    async def behave(self, received: Received, wire: Wire) -> None:
        if not is_signed(received):
            await wire.reply(401, b"the signature is wrong")
            return
        key = received.all("idempotency-key")[0].decode()
        if self.says_409 and key in self.keys:
            await wire.reply(409, b"done before")
            return
        events = json.loads(received.body)["events"]
        if any(event["event_id"] in self.refused for event in events):
            await wire.reply(422, b'{"error":"cannot take this"}', JSON)
            return
        self.keys.append(key)
        for event in events:
            if self.judged.get(event["event_id"], {}).get("status", 200) < 300:
                self.repeats += event["event_id"] in self.done
                self.done[event["event_id"]] = event
        await self._confirm(events, wire)

    async def _confirm(self, events: list[dict[str, Any]], wire: Wire) -> None:
        if not self.judged:
            await wire.reply(200, b'{"ok":true}', JSON)
            return
        results = [{"event_id": e["event_id"], "status": 200, **self.judged.get(e["event_id"], {})} for e in events]
        await wire.reply(207, json.dumps({"results": results}).encode(), JSON)


def is_signed(received: Received) -> bool:
    """As the README tells receivers to check."""
    fields = dict(f.split("=", 1) for f in received.all("x-llm-proxy-signature")[0].decode().split(","))
    wanted = hmac.new(SECRET.encode(), fields["t"].encode() + b"." + received.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted, fields["v1"])

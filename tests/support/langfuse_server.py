"""Langfuse's OTLP endpoint: Basic auth, its version header, answers in JSON whatever it was asked in."""

import base64
from dataclasses import dataclass, field

from tests.support.otlp_server import Collector
from tests.support.upstream import Received, Wire

PUBLIC, SECRET = "pk-lf-1234", "sk-lf-5678-nobody-may-see"


@dataclass
class Langfuse(Collector):
    needs: dict[str, str] = field(
        default_factory=lambda: {
            "authorization": "Basic " + base64.b64encode(f"{PUBLIC}:{SECRET}".encode()).decode(),
            "x-langfuse-ingestion-version": "4",
            "content-type": "application/x-protobuf",
        }
    )
    is_suspended: bool = False
    """403: the plan's usage is exceeded."""

    async def behave(self, received: Received, wire: Wire) -> None:
        if self.is_suspended:
            await wire.reply(403, b'{"message":"Ingestion suspended: Usage threshold exceeded."}')
            return
        await super().behave(received, wire)

    def _answer_in(self, kind: str, rejected: int) -> bytes:
        return b"{}"

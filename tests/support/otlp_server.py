"""An OpenTelemetry collector's trace receiver: protobuf and JSON over HTTP, read with the official messages."""

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.http_sink import HttpSink
from tests.support.upstream import Received, Wire

PROTOBUF = "application/x-protobuf"


@dataclass
class Collector(HttpSink):
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    needs: dict[str, str] = field(default_factory=dict)
    """Headers without which it answers 401."""
    rejects: set[str] = field(default_factory=set)
    """Names of spans that it counts in partial_success."""
    warning: str = ""
    malformed: set[str] = field(default_factory=set)
    """Names of spans for which it refuses the whole request with 400."""
    largest: int = 20 * 1024 * 1024

    async def behave(self, received: Received, wire: Wire) -> None:
        if any(received.all(name) != [value.encode()] for name, value in self.needs.items()):
            await wire.reply(401, b"who are you?")
            return
        kind = received.all("content-type")[0].decode()
        body = gzip.decompress(received.body) if received.all("content-encoding") == [b"gzip"] else received.body
        if len(body) > self.largest:
            await wire.reply(413, b"request body too large")
            return
        request = read_request(kind, body)
        if request is None:
            await wire.reply(400, b"cannot be read")
            return
        spans = [span for rs in request.resource_spans for ss in rs.scope_spans for span in ss.spans]
        if any(len(s.trace_id) != 16 or len(s.span_id) != 8 or s.name in self.malformed for s in spans):
            await wire.reply(400, b"malformed span")
            return
        self.resources += [attributes_of(rs.resource) for rs in request.resource_spans]
        self.spans += [span for span in spans if span.name not in self.rejects]
        rejected = sum(span.name in self.rejects for span in spans)
        await wire.reply(200, self._answer_in(kind, rejected), (b"content-type", kind.encode()))

    def by_event(self) -> dict[str, Span]:
        return {attributes_of(span)["llm_proxy.event_id"]: span for span in self.spans}

    def _answer_in(self, kind: str, rejected: int) -> bytes:
        answer = ExportTraceServiceResponse()
        if rejected or self.warning:
            answer.partial_success.rejected_spans = rejected
            answer.partial_success.error_message = self.warning or "attribute too long"
        if kind == PROTOBUF:
            encoded: bytes = answer.SerializeToString()
            return encoded
        return str(json_format.MessageToJson(answer)).encode()


def read_request(kind: str, body: bytes) -> ExportTraceServiceRequest | None:
    """JSON as OTLP has it: ids are hex, where protobuf's own JSON has base64."""
    try:
        if kind == PROTOBUF:
            return ExportTraceServiceRequest.FromString(body)
        request = json_format.Parse(body, ExportTraceServiceRequest())
    except (DecodeError, json_format.ParseError):
        return None
    for span in (s for rs in request.resource_spans for ss in rs.scope_spans for s in ss.spans):
        span.trace_id, span.span_id = _from_hex(span.trace_id), _from_hex(span.span_id)
    return request


def attributes_of(bearer: Any) -> dict[str, Any]:
    return {one.key: _plain(one.value) for one in bearer.attributes}


def _from_hex(misread: bytes) -> bytes:
    """What was read as base64 was hex."""
    return bytes.fromhex(base64.b64encode(misread).decode())


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    told = getattr(value, kind)
    if kind != "array_value":
        return told
    values: Sequence[Any] = told.values
    return [_plain(one) for one in values]

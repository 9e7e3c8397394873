"""OTLP's two encodings of traces, protobuf and its own JSON, and what a collector answers in either.

https://github.com/open-telemetry/opentelemetry-proto/blob/main/docs/specification.md#otlphttp
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from dispatcher.backends.genai import Value
from dispatcher.backends.spans import Timed

_INT64: Final = 2**63
_SERVICE: Final = "llm-proxy"
_KIND_CLIENT: Final = 3
_STATUS_ERROR: Final = 2


class Format(Struct, frozen=True):
    content_type: str
    span: Callable[[Timed], bytes]
    request: Callable[[Iterable[bytes]], bytes]


def as_protobuf(span: Timed) -> bytes:
    """A ScopeSpans with this one span: several of them joined are a ScopeSpans with all, as protobuf has it."""
    scope = ScopeSpans()
    told = scope.spans.add()
    told.trace_id, told.span_id, told.name = span.trace_id, span.span_id, span.name
    told.kind = Span.SPAN_KIND_CLIENT
    told.start_time_unix_nano, told.end_time_unix_nano = span.start_ns, span.end_ns
    for name, value in span.attributes:
        attribute = told.attributes.add()
        attribute.key = name
        _set(attribute.value, value)
    if span.error:
        told.status.code, told.status.message = Status.STATUS_CODE_ERROR, span.error
    encoded: bytes = scope.SerializeToString()
    return encoded


def protobuf_request(encoded: Iterable[bytes]) -> bytes:
    spans = ScopeSpans.FromString(b"".join(encoded))
    spans.scope.CopyFrom(InstrumentationScope(name=_SERVICE))
    resource = Resource(attributes=[KeyValue(key="service.name", value=AnyValue(string_value=_SERVICE))])
    request = ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[spans])])
    encoded_request: bytes = request.SerializeToString()
    return encoded_request


def as_json(span: Timed) -> bytes:
    """OTLP's own JSON: ids in hex, 64-bit numbers as text, enums as numbers."""
    told: dict[str, Any] = {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "name": span.name,
        "kind": _KIND_CLIENT,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": [{"key": name, "value": _json_value(value)} for name, value in span.attributes],
    }
    if span.error:
        told["status"] = {"code": _STATUS_ERROR, "message": span.error}
    return msgspec.json.encode(told)


def json_request(encoded: Iterable[bytes]) -> bytes:
    resource = b'{"attributes":[{"key":"service.name","value":{"stringValue":"%s"}}]}' % _SERVICE.encode()
    scope = b'{"name":"%s"}' % _SERVICE.encode()
    spans = b",".join(encoded)
    return b'{"resourceSpans":[{"resource":%s,"scopeSpans":[{"scope":%s,"spans":[%s]}]}]}' % (resource, scope, spans)


def partial_success(body: bytes) -> tuple[int, str]:
    """How many spans were rejected, and why; a message alone is a warning. Collectors may answer in the other format
    than they were asked in."""
    if body.lstrip()[:1] == b"{":
        return _partial_success_of_json(body)
    try:
        told = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return 0, ""
    return max(0, told.rejected_spans), told.error_message


def _partial_success_of_json(body: bytes) -> tuple[int, str]:
    try:
        told = msgspec.json.decode(body, type=_Response, strict=False).partial_success
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return 0, ""
    return (max(0, told.rejected_spans), told.error_message) if told else (0, "")


class _PartialSuccess(Struct, rename="camel"):
    rejected_spans: int = 0
    error_message: str = ""


class _Response(Struct, rename="camel"):
    partial_success: _PartialSuccess | None = None


def _set(told: AnyValue, value: Value) -> None:
    """Field by field: messages made of messages would be copied, at twice the time."""
    if isinstance(value, str):
        told.string_value = value
    elif isinstance(value, bool):
        told.bool_value = value
    elif isinstance(value, float):
        told.double_value = value
    elif isinstance(value, int):
        if _fits(value):
            told.int_value = value
        else:
            told.string_value = str(value)
    else:
        told.array_value.SetInParent()
        for one in value:
            _set(told.array_value.values.add(), one)


def _json_value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)} if _fits(value) else {"stringValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"arrayValue": {"values": [_json_value(one) for one in value]}}


def _fits(value: int) -> bool:
    """A call may name any number as its seed."""
    return -_INT64 <= value < _INT64


FORMATS: Final = {
    "http/protobuf": Format("application/x-protobuf", as_protobuf, protobuf_request),
    "http/json": Format("application/json", as_json, json_request),
}

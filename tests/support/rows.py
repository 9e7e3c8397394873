"""Rows for tests: every column filled, what matters to a test said by the test."""

from typing import Any

import msgspec

from config.ids import new_id
from config.secret import Secret
from sql.rows import ApiKeyRow, BodyRow, ProjectRow, RequestRow, SessionRow, TokenRow
from sql.sealing import hash_token

NOW_MS = 1_900_000_000_000


def project(**said: Any) -> ProjectRow:
    row = ProjectRow(
        id=new_id(),
        name=f"project {new_id()}",
        is_active=True,
        recording="full",
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
        deactivated_at_ms=None,
    )
    return msgspec.structs.replace(row, **said)


def api_key(project_id: str, **said: Any) -> ApiKeyRow:
    row = ApiKeyRow(
        id=new_id(),
        project_id=project_id,
        provider="openai",
        key=Secret("sk-provider-key"),
        weight=1,
        created_at_ms=NOW_MS,
        updated_at_ms=NOW_MS,
    )
    return msgspec.structs.replace(row, **said)


def token(project_id: str, **said: Any) -> TokenRow:
    token_id = new_id()
    row = TokenRow(
        id=token_id,
        project_id=project_id,
        token_hash=hash_token(token_id),
        hint="sk-abcd…wxyz",
        is_active=True,
        expires_at_ms=None,
        max_requests=None,
        request_count=0,
        cache_hit_count=0,
        created_at_ms=NOW_MS,
        last_used_at_ms=None,
        deactivated_at_ms=None,
    )
    return msgspec.structs.replace(row, **said)


def session(**said: Any) -> SessionRow:
    row = SessionRow(
        id_hash=hash_token(new_id()),
        actor="management_token",
        csrf="c",
        created_at_ms=NOW_MS,
        last_seen_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 3_600_000,
        user_agent="a browser",
        client_ip="127.0.0.1",
    )
    return msgspec.structs.replace(row, **said)


def request(**said: Any) -> RequestRow:
    row = RequestRow(
        event_id=new_id(),
        request_id=f"req-{new_id()}",
        accepted_at_ms=NOW_MS,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        method="POST",
        path="/v1/chat/completions",
        status=200,
        code="",
        client_ip="127.0.0.1",
        user_agent="curl/8",
        project_id="p1",
        token_id="t1",
        organisation="",
        session_id="",
        conversation_id="",
        end_user="",
        provider="openai",
        dialect="openai",
        model="gpt-5",
        response_model="gpt-5-2026-01-01",
        response_id="chatcmpl-1",
        input_tokens=10,
        cache_read_tokens=5,
        cache_write_tokens=None,
        output_tokens=7,
        reasoning_tokens=2,
        audio_input_tokens=None,
        audio_output_tokens=None,
        cost_microusd=None,
        upstream_head_us=1000,
        first_byte_us=1200,
        last_byte_us=9000,
        overhead_us=200,
        request_bytes=100,
        response_bytes=900,
        streamed=True,
        cut="",
        cached=False,
        attempts=1,
    )
    return msgspec.structs.replace(row, **said)


def body(event_id: str, side: str = "request", **said: Any) -> BodyRow:
    row = BodyRow(
        event_id=event_id,
        side=side,
        data=b'{"model": "gpt-5"}\x00\xff',
        content_type="application/json",
        content_encoding="",
        truncated=False,
    )
    return msgspec.structs.replace(row, **said)

"""Rows as they are read: one Struct per table. Times are integer milliseconds, money is integer micro-dollars,
ids are text made by us, JSON columns are text that msgspec decodes at the border.
"""

from typing import Literal

from msgspec import Struct

from config.secret import Secret

Recording = Literal["full", "metadata", "off"]
OnDisconnect = Literal["cancel", "drain"]
Outcome = Literal["success", "failure", "denied", "error"]


class ProjectRow(Struct, frozen=True, kw_only=True):
    id: str
    name: str
    is_active: bool
    recording: Recording
    created_at_ms: int
    updated_at_ms: int
    deactivated_at_ms: int | None
    on_disconnect: OnDisconnect = "cancel"
    """What becomes of the upstream's answer when the client has left."""


class ApiKeyRow(Struct, frozen=True, kw_only=True):
    """A provider's key of a project, unsealed. `weight` 0 keeps it without using it."""

    id: str
    project_id: str
    provider: str
    key: Secret
    weight: int
    created_at_ms: int
    updated_at_ms: int
    replaced_by: str | None = None
    """Id of the key that took its place in a rotation."""
    retires_at_ms: int | None = None
    """When it is deleted for that."""


class TokenRow(Struct, frozen=True, kw_only=True):
    """A token of a client; the token itself is nowhere, `hint` is what may be shown of it."""

    id: str
    project_id: str
    token_hash: str
    hint: str
    is_active: bool
    expires_at_ms: int | None
    """None: never."""
    max_requests: int | None
    """Lifetime quota; None: unlimited."""
    request_count: int
    cache_hit_count: int
    created_at_ms: int
    last_used_at_ms: int | None
    deactivated_at_ms: int | None
    previous_hash: str | None = None
    """Of the secret before the last rotation."""
    previous_until_ms: int | None = None
    """Until when that one is taken, too."""


class TokenHashes(Struct, frozen=True):
    """What processes remember a token by."""

    token_hash: str
    previous_hash: str | None


class ManagementTokenRow(Struct, frozen=True, kw_only=True):
    """A program that may manage; `scopes` are words between spaces."""

    id: str
    name: str
    token_hash: str
    hint: str
    scopes: str
    created_at_ms: int
    expires_at_ms: int | None
    last_used_at_ms: int | None
    revoked_at_ms: int | None
    previous_hash: str | None = None
    previous_until_ms: int | None = None


class AuditRow(Struct, frozen=True, kw_only=True):
    """Who did what. `before` and `after` are JSON objects of the changed fields only, secrets masked."""

    id: str
    seq: int
    """Place in the hash chain, from 1, without gaps."""
    at_ms: int
    action: str
    actor: str
    outcome: Outcome
    object_kind: str
    object_id: str
    project_id: str | None
    token_id: str | None
    request_id: str | None
    client_ip: str | None
    method: str | None
    path: str | None
    user_agent: str | None
    reason: str | None
    before: str | None
    after: str | None
    prev_hash: str
    hash: str


class NewAudit(Struct, frozen=True, kw_only=True):
    """An audit row before it has its place in the chain."""

    action: str
    actor: str
    outcome: Outcome = "success"
    object_kind: str = ""
    object_id: str = ""
    project_id: str | None = None
    token_id: str | None = None
    request_id: str | None = None
    client_ip: str | None = None
    method: str | None = None
    path: str | None = None
    user_agent: str | None = None
    reason: str | None = None
    before: str | None = None
    after: str | None = None


class ChangeRow(Struct, frozen=True):
    """What processes must forget: kind is `token` (key: token hash), `project` (project id), `provider`
    or `policy`."""

    id: int
    kind: str
    key: str


class PolicyRow(Struct, frozen=True, kw_only=True):
    """The policy document; config.policy says what is in it."""

    version: int
    """From 1, one more with each change."""
    document: str
    """JSON."""
    updated_at_ms: int
    updated_by: str
    """The actor, as the audit log has it."""
    id: str = "limits"


class PriceRow(Struct, frozen=True, kw_only=True):
    """A price that counts instead of the list's; `prices` is JSON, dollars per million by class."""

    id: str
    provider: str
    model: str
    """A name or a glob, in lower case."""
    from_ms: int
    """0: from ever on."""
    until_ms: int | None
    prices: str
    updated_at_ms: int
    updated_by: str


class SessionRow(Struct, frozen=True, kw_only=True):
    """A signed-in browser; `id_hash` is the SHA-256 of the cookie."""

    id_hash: str
    actor: str
    csrf: str
    created_at_ms: int
    last_seen_at_ms: int
    expires_at_ms: int
    user_agent: str
    client_ip: str


class RequestRow(Struct, frozen=True, kw_only=True):
    """One exchange as the `database` backend keeps it. Durations are microseconds from accept."""

    event_id: str
    request_id: str
    accepted_at_ms: int
    trace_id: str
    method: str
    path: str
    status: int
    code: str
    client_ip: str
    user_agent: str
    project_id: str
    token_id: str
    organisation: str
    session_id: str
    conversation_id: str
    end_user: str
    provider: str
    dialect: str
    model: str
    response_model: str
    response_id: str
    input_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    audio_input_tokens: int | None
    audio_output_tokens: int | None
    cost_microusd: int | None
    upstream_head_us: int | None
    first_byte_us: int | None
    last_byte_us: int | None
    overhead_us: int | None
    request_bytes: int
    response_bytes: int
    streamed: bool
    cut: str
    cached: bool
    attempts: int
    cache_write_1h_tokens: int | None = None
    usage_source: str = ""
    """Who counted: `provider`, or `estimate`; empty where nothing was counted."""
    price_source: str = ""
    """Who set the price: `provider`, `list` or `override`; empty where the cost is unknown."""
    service_tier: str = ""


class BodyRow(Struct, frozen=True, kw_only=True):
    """A recorded body of an exchange; `side` is `request` or `response`."""

    event_id: str
    side: str
    data: bytes
    content_type: str
    content_encoding: str
    truncated: bool


class TokenUsage(Struct, frozen=True, kw_only=True):
    """What a worker has counted of a token since it last wrote it down."""

    id: str
    requests: int
    cache_hits: int
    last_used_at_ms: int


class AuditFilter(Struct, frozen=True, kw_only=True):
    """None does not filter. `search` is looked for anywhere in a row, whatever its case; `until_ms` is not included."""

    action: str | None = None
    actor: str | None = None
    outcome: Outcome | None = None
    object_kind: str | None = None
    object_id: str | None = None
    project_id: str | None = None
    token_id: str | None = None
    request_id: str | None = None
    client_ip: str | None = None
    method: str | None = None
    path: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    search: str | None = None


class RequestFilter(Struct, frozen=True, kw_only=True):
    """None does not filter. `until_ms` is not included."""

    project_id: str | None = None
    token_id: str | None = None
    model: str | None = None
    provider: str | None = None
    status_class: int | None = None
    """2 is 200 to 299, and so on; 0 is the exchanges that never got a status."""
    code: str | None = None
    request_id: str | None = None
    """The beginning of one."""
    since_ms: int | None = None
    until_ms: int | None = None


class RequestSummary(Struct, frozen=True, kw_only=True):
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    cost_microusd: int | None
    """Of the exchanges whose cost is known; None when there is none."""
    p50_us: int | None
    """Accept to last byte; None when no exchange has ended."""
    p95_us: int | None

"""The event: one `ExchangeFinished` per exchange, a fact in the past tense that travels worker -> bus -> backends.

Unknown fields are ignored when decoding, so that a newer worker may write to an older dispatcher. No secret is ever
put in here: whoever builds an event gives it ids of tokens, never tokens, and bodies only as the project allows.
"""

from typing import Literal

from msgspec import Struct

Recording = Literal["full", "metadata", "off"]
Cut = Literal["", "client", "upstream", "interrupted"]
Tier = Literal["", "batch", "flex", "priority", "fast"]
UsageSource = Literal["", "provider", "estimate"]
PriceSource = Literal["", "provider", "list", "override"]


class Usage(Struct, frozen=True, omit_defaults=True):
    """Model tokens of one exchange in disjoint classes: their sum is what the provider counts.

    Providers overlap them (OpenAI's prompt_tokens include cached ones, completion_tokens include reasoning);
    `bus.transcript` takes them apart.
    """

    input: int = 0
    """Uncached text input."""
    cache_read: int = 0
    cache_write: int = 0
    """Kept for five minutes, or for however long the provider has only one price for."""
    output: int = 0
    """Visible text output."""
    reasoning: int = 0
    audio_input: int = 0
    audio_output: int = 0
    cache_write_1h: int = 0
    audio_cache_read: int = 0
    image_input: int = 0
    image_output: int = 0
    video_input: int = 0
    video_output: int = 0

    audio_ms: int = 0
    """Not model tokens: what is billed by its duration, milliseconds."""
    web_searches: int = 0
    service_tier: Tier = ""
    """Which of the provider's price lists counts; empty is the usual one."""
    told_cost_microusd: int | None = None
    """What the provider itself says that it cost."""

    @property
    def prompt_tokens(self) -> int:
        return (
            self.input
            + self.cache_read
            + self.cache_write
            + self.cache_write_1h
            + self.audio_input
            + self.audio_cache_read
            + self.image_input
            + self.video_input
        )

    @property
    def read_from_cache(self) -> int:
        return self.cache_read + self.audio_cache_read

    @property
    def written_to_cache(self) -> int:
        return self.cache_write + self.cache_write_1h

    @property
    def completion_tokens(self) -> int:
        return self.output + self.reasoning + self.audio_output + self.image_output + self.video_output


class Body(Struct, frozen=True, omit_defaults=True):
    """A recorded body: the first bytes as they passed, still in their Content-Encoding."""

    data: bytes = b""
    content_type: str = ""
    content_encoding: str = ""
    truncated: bool = False


class ExchangeFinished(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", tag="exchange_finished"):
    """One call and its reply, refused, cut and failed ones too."""

    event_id: str
    """UUIDv7 made at accept; the idempotency key of every backend."""
    request_id: str
    accepted_at_ms: int
    """Wall clock, milliseconds since the epoch."""
    method: str
    path: str
    """Path as the client sent it, without the query."""
    status: int
    """What the client was told; 499 when it left before the head, 0 when nothing was sent."""
    code: str = ""
    """Our stable error code; empty when the reply came from the upstream."""
    trace_id: str = ""
    client_ip: str = ""
    user_agent: str = ""

    project_id: str = ""
    token_id: str = ""
    organisation: str = ""
    """OpenAI-Organization or the like, where the call names it."""
    session_id: str = ""
    conversation_id: str = ""
    end_user: str = ""

    provider: str = ""
    dialect: str = ""
    model: str = ""
    """As asked for."""
    response_model: str = ""
    response_id: str = ""
    usage: Usage | None = None
    """None: the provider told none."""
    usage_source: UsageSource = ""
    """Who counted: the provider, or we where it told none (`estimate`); empty where nothing was counted."""
    cost_microusd: int | None = None
    """None: unknown. Never 0 for unknown."""
    price_source: PriceSource = ""
    """Who set the price: the provider told the cost, the shipped price list, or an override of yours."""

    upstream_head_us: int | None = None
    """Microseconds from accept to the upstream's head; None when there was none."""
    first_byte_us: int | None = None
    last_byte_us: int | None = None
    overhead_us: int | None = None
    """Our own share: accept to the reply's head, less the wait for the upstream."""
    request_bytes: int = 0
    response_bytes: int = 0
    streamed: bool = False
    cut: Cut = ""
    """Who ended the exchange before its end: the client, the upstream, or the death of our worker."""
    cached: bool = False
    attempts: int = 0
    """Tries at an upstream; 0 when none was made."""

    recording: Recording = "metadata"
    request_body: Body | None = None
    response_body: Body | None = None


class ExchangeBegan(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="t", tag="exchange_began"):
    """What is known at accept: turned into an `interrupted` ExchangeFinished when its worker dies before the end."""

    event_id: str
    request_id: str
    accepted_at_ms: int
    method: str
    path: str
    trace_id: str = ""
    client_ip: str = ""
    provider: str = ""

    def interrupted(self) -> ExchangeFinished:
        return ExchangeFinished(
            event_id=self.event_id,
            request_id=self.request_id,
            accepted_at_ms=self.accepted_at_ms,
            method=self.method,
            path=self.path,
            trace_id=self.trace_id,
            client_ip=self.client_ip,
            provider=self.provider,
            status=0,
            cut="interrupted",
        )

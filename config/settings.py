"""Every setting: its environment variable, default, unit and meaning. `.env.example` is made from this file.

Names are those of the Go llm-proxy where it has them. A field's variable is its name in upper case unless
`env=` says otherwise; durations end in their unit. Read with `config.load.load_settings`.
"""

from typing import Annotated, Literal

from msgspec import Meta

from config.limit_settings import LimitSettings
from config.secret import Secret
from config.serving_settings import UpstreamClient as UpstreamClient
from config.serving_settings import about

EventBus = Literal["embedded", "redis-streams", "in-memory"]
RecordMode = Literal["os", "disk", "async"]
WhenFull = Literal["drop", "reject"]
Retain = Literal["delivered", "replicated"]
LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["json", "console"]
OtlpProtocol = Literal["http/protobuf", "http/json"]
Compression = Literal["zstd", "gzip", "none"]


class Settings(LimitSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The second half: what becomes of events."""

    event_bus: Annotated[
        EventBus | None,
        about(
            "embedded (default without Redis), redis-streams (default with it) or in-memory (nothing survives).",
            env="LLM_PROXY_EVENT_BUS",
            group="Events",
        ),
    ] = None
    redis_url: Annotated[Secret | None, about("redis://user:password@host:6379/0 or rediss://.")] = None
    redis_addr: Annotated[str, about("host:port, when REDIS_URL is not set.")] = ""
    redis_db: Annotated[int, about("Database number, with REDIS_ADDR.", ge=0)] = 0
    redis_password: Annotated[Secret | None, about("Password, with REDIS_ADDR.")] = None
    redis_ca_file: Annotated[
        str, about("PEM file of whom to trust for rediss://; empty is the system's list. Makes REDIS_ADDR use TLS.")
    ] = ""
    redis_timeout_ms: Annotated[
        int,
        about(
            "How long Redis may take to answer before it counts as away; to connect, 2 s of it at most.",
            env="LLM_PROXY_REDIS_TIMEOUT_MS",
            ge=50,
        ),
    ] = 5000
    redis_stream_key: Annotated[str, about("Name of the event stream; all keys of a shard share one hash slot.")] = (
        "llm-proxy-events"
    )
    stream_shards: Annotated[
        int,
        about(
            "Streams that new spools are spread over, each in a hash slot of its own; may go up and down.",
            env="LLM_PROXY_STREAM_SHARDS",
            ge=1,
            le=64,
        ),
    ] = 1
    claim_check_dir: Annotated[
        str,
        about(
            "A folder on a disk that all keepers and dispatchers share: large events lie there, Redis has references; "
            "empty: off.",
            env="LLM_PROXY_CLAIM_CHECK_DIR",
        ),
    ] = ""
    claim_check_bytes: Annotated[
        int,
        about("Compressed events above this go to that folder; 0: none.", env="LLM_PROXY_CLAIM_CHECK_BYTES", ge=0),
    ] = 65_536
    claim_check_days: Annotated[
        int,
        about(
            "Days after which they are deleted there, but never before every backend has them.",
            env="LLM_PROXY_CLAIM_CHECK_DAYS",
            ge=1,
        ),
    ] = 7
    record: Annotated[
        RecordMode,
        about(
            "os: survives any process's death; disk: also power loss; async: does not wait at all.",
            env="LLM_PROXY_RECORD",
        ),
    ] = "os"
    spool_max_bytes: Annotated[
        int, about("Bound of all spools together.", env="LLM_PROXY_SPOOL_MAX_BYTES", ge=1024 * 1024)
    ] = 4 * 1024**3
    spool_segment_bytes: Annotated[
        int, about("Size of one preallocated spool segment.", env="LLM_PROXY_SPOOL_SEGMENT_BYTES", ge=64 * 1024)
    ] = 32 * 1024**2
    spool_when_full: Annotated[
        WhenFull, about("drop: serve and count the loss; reject: answer 503.", env="LLM_PROXY_SPOOL_WHEN_FULL")
    ] = "drop"
    spool_retain: Annotated[
        Retain,
        about("When spooled events may go: delivered to all backends, or in the bus.", env="LLM_PROXY_SPOOL_RETAIN"),
    ] = "delivered"
    spool_sync_ms: Annotated[
        int, about("How often the spool is synced to disk with record=os.", env="LLM_PROXY_SPOOL_SYNC_MS", ge=1)
    ] = 50
    relay_batch_bytes: Annotated[
        int,
        about(
            "Bytes of events (100 at most) that the relay gives to the bus at once; it takes them or none.",
            env="LLM_PROXY_RELAY_BATCH_BYTES",
            ge=1024,
            le=64 * 1024**2,
        ),
    ] = 1024**2
    relay_linger_ms: Annotated[
        int,
        about(
            "How long the relay lets events gather that come close together; 0: none waits, and each costs more.",
            env="LLM_PROXY_RELAY_LINGER_MS",
            ge=0,
            le=10_000,
        ),
    ] = 50
    relay_backoff_max_ms: Annotated[
        int,
        about(
            "Longest pause of the relay before it asks again whether the bus is back.",
            env="LLM_PROXY_RELAY_BACKOFF_MAX_MS",
            ge=50,
        ),
    ] = 1500
    relay_patience_ms: Annotated[
        int,
        about(
            "How long an event that damage took from a live worker's spool may still be written anew, which takes 5 s "
            "on a disk that refuses at first; then it counts as lost.",
            env="LLM_PROXY_RELAY_PATIENCE_MS",
            ge=0,
        ),
    ] = 30_000
    observability_enabled: Annotated[bool, about("Record exchanges at all.")] = True
    observability_max_request_body_bytes: Annotated[int, about("Bytes of a request body that are recorded.", ge=0)] = (
        65_536
    )
    observability_max_response_body_bytes: Annotated[
        int, about("Bytes of a response body that are recorded.", ge=0)
    ] = 262_144

    dispatcher_backends: Annotated[
        tuple[str, ...],
        about(
            "Where events go, separated by commas: database, file, webhook, otlp, langfuse, helicone, lunary, s3.",
            group="Dispatcher",
        ),
    ] = ("database",)
    dispatcher_listen_addr: Annotated[
        str, about("Where a dispatcher serves /live, /ready and its metrics, e.g. `:9090`; empty: nowhere.")
    ] = ""
    file_event_log: Annotated[str, about("Path of a JSONL file; turns the file backend on.")] = ""
    dispatcher_batch_size: Annotated[int, about("Events per delivery.", ge=1, le=10_000)] = 100
    dispatcher_min_idle_ms: Annotated[
        int,
        about(
            "Lease of a delivery: after this long without a heartbeat others may claim it.",
            env="LLM_PROXY_DISPATCHER_MIN_IDLE_MS",
            ge=50,
        ),
    ] = 30_000
    dispatcher_backoff_ms: Annotated[
        int,
        about("First step of the retry backoff (full jitter, doubling).", env="LLM_PROXY_DISPATCHER_BACKOFF_MS", ge=1),
    ] = 500
    dispatcher_backoff_max_ms: Annotated[
        int, about("Longest retry backoff.", env="LLM_PROXY_DISPATCHER_BACKOFF_MAX_MS", ge=1)
    ] = 60_000
    dispatcher_breaker_failures: Annotated[
        int,
        about(
            "Failed deliveries in a row after which a backend is only probed, with one event at a time.",
            env="LLM_PROXY_DISPATCHER_BREAKER_FAILURES",
            ge=1,
        ),
    ] = 5
    dispatcher_probe_max_ms: Annotated[
        int,
        about(
            "Longest pause before a backend that takes nothing is asked again.",
            env="LLM_PROXY_DISPATCHER_PROBE_MAX_MS",
            ge=1,
        ),
    ] = 10_000
    dispatcher_park_after_ms: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        about(
            "How long a backend takes nothing before its events are parked in DATA_DIR; 0: they stay on the bus. "
            "Empty: 600000, but 0 for `llm-proxy dispatcher`, whose disk may go with its container.",
            env="LLM_PROXY_DISPATCHER_PARK_AFTER_MS",
        ),
    ] = None
    dispatcher_park_max_bytes: Annotated[
        int,
        about(
            "Bound of what is parked for one backend on one machine; beyond it events wait on the bus.",
            env="LLM_PROXY_DISPATCHER_PARK_MAX_BYTES",
            ge=1024 * 1024,
        ),
    ] = 4 * 1024**3
    dispatcher_park_rate: Annotated[
        int,
        about(
            "Parked events a second that a dispatcher delivers at most; more than arrive, or they never end.",
            env="LLM_PROXY_DISPATCHER_PARK_RATE",
            ge=1,
        ),
    ] = 2000
    dispatcher_timeout_ms: Annotated[
        int, about("How long one delivery may take.", env="LLM_PROXY_DISPATCHER_TIMEOUT_MS", ge=10)
    ] = 10_000
    rollup_minutes_days: Annotated[
        int,
        about(
            "Days after which sums per minute are deleted; those per hour and day stay. Months of time zones that are "
            "no whole hours apart need 32.",
            env="LLM_PROXY_ROLLUP_MINUTES_DAYS",
            ge=32,
        ),
    ] = 40

    webhook_url: Annotated[
        Secret | None,
        about("Where signed batches of events are posted to; a secret, since many carry a key.", group="Backends"),
    ] = None
    webhook_secret: Annotated[
        Secret | None, about("Signs each call (HMAC-SHA256). `openssl rand -hex 32` makes one.")
    ] = None
    webhook_batch_size: Annotated[int, about("Events in one call; 1 sends each alone.", ge=1, le=1000)] = 100
    webhook_max_bytes: Annotated[int, about("Bytes of events in one call; a larger event goes alone.", ge=1024)] = (
        1024 * 1024
    )
    otlp_endpoint: Annotated[
        str, about("An OpenTelemetry collector (HTTP); /v1/traces is added when it has no path of its own.")
    ] = ""
    otlp_headers: Annotated[Secret | None, about("Headers for it: name=value, separated by commas.")] = None
    otlp_protocol: Annotated[OtlpProtocol, about("http/protobuf or http/json.")] = "http/protobuf"
    otlp_bodies: Annotated[bool, about("Send what was said, too, where a project records it.")] = False
    langfuse_host: Annotated[str, about("Langfuse, in the cloud or your own.")] = "https://cloud.langfuse.com"
    langfuse_public_key: Annotated[Secret | None, about("pk-lf-...")] = None
    langfuse_secret_key: Annotated[Secret | None, about("sk-lf-...")] = None
    helicone_endpoint: Annotated[str, about("Helicone's log for custom models.")] = (
        "https://api.worker.helicone.ai/custom/v1/log"
    )
    helicone_api_key: Annotated[Secret | None, about("Helicone's API key.")] = None
    lunary_endpoint: Annotated[str, about("Lunary's ingestion.")] = "https://api.lunary.ai/v1/runs/ingest"
    lunary_api_key: Annotated[Secret | None, about("A project's public or private key at Lunary.")] = None
    s3_bucket: Annotated[str, about("Bucket for objects of JSON lines.")] = ""
    s3_prefix: Annotated[str, about("What the objects' keys begin with.")] = "llm-proxy"
    s3_region: Annotated[str, about("Region of the bucket; empty asks the environment, as AWS's own tools do.")] = ""
    s3_endpoint: Annotated[str, about("URL of another store that speaks S3 (MinIO, R2, Ceph); empty is AWS.")] = ""
    s3_access_key_id: Annotated[
        Secret | None, about("Empty takes AWS's own ways: environment, container role, instance role.")
    ] = None
    s3_secret_access_key: Annotated[Secret | None, about("Belongs to S3_ACCESS_KEY_ID.")] = None
    s3_by_project: Annotated[bool, about("A folder per project, before those per day and hour.")] = False
    s3_compression: Annotated[Compression, about("zstd, gzip or none.")] = "zstd"

    log_level: Annotated[LogLevel, about("debug, info, warning or error.", group="Logs")] = "info"
    log_format: Annotated[LogFormat, about("json or console.")] = "json"
    log_requests: Annotated[bool, about("One line per exchange at info level.", env="LLM_PROXY_LOG_REQUESTS")] = True

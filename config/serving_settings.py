"""The settings of what serves calls: the first half of `settings.py`, where they are explained."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from config.secret import Secret

DbDriver = Literal["sqlite", "postgres"]
UpstreamClient = Literal["aiohttp", "http1"]


def about(text: str, *, env: str = "", group: str = "", ge: int | None = None, le: int | None = None) -> Meta:
    """What a setting is for. `group` opens a new section of `.env.example`."""
    return Meta(description=text, ge=ge, le=le, extra={"env": env, "group": group})


class ServingSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    management_token: Annotated[
        Secret | None, about("Guards /manage and the admin. `llm-proxy setup` makes one.", group="Access")
    ] = None
    management_token_previous: Annotated[
        Secret | None, about("The MANAGEMENT_TOKEN of before a rotation, taken beside the new one; remove it soon.")
    ] = None
    encryption_key: Annotated[
        Secret | None, about("Base64 of 32 bytes; seals API keys at rest (AES-256-GCM). Without it they lie in clear.")
    ] = None
    require_encryption_key: Annotated[bool, about("Refuse to start without ENCRYPTION_KEY.")] = False
    trusted_proxies: Annotated[
        tuple[str, ...], about("Networks (CIDR) whose X-Forwarded-For and -Proto are believed, separated by commas.")
    ] = ()
    manage_rate_per_minute: Annotated[
        int,
        about("Requests a minute and address that /manage answers; 0 is no limit.", env="LLM_PROXY_MANAGE_RPM", ge=0),
    ] = 600
    login_rate_per_minute: Annotated[
        int,
        about(
            "Failed sign-ins a minute and address before the admin and /manage say 429.",
            env="LLM_PROXY_LOGIN_RPM",
            ge=1,
        ),
    ] = 10

    listen_addr: Annotated[
        str, about("Where the proxy and /manage listen: `:8080` or `127.0.0.1:8080`.", group="Listening")
    ] = ":8080"
    admin_ui_listen_addr: Annotated[str, about("Where the admin listens.")] = ":8081"
    metrics_addr: Annotated[str, about("Moves /metrics to a listener of its own; empty leaves it on LISTEN_ADDR.")] = ""
    enable_metrics: Annotated[bool, about("Serve /metrics at all.")] = True
    metrics_path: Annotated[str, about("Path of the JSON metrics; Prometheus text lies below it at /prometheus.")] = (
        "/metrics"
    )
    workers: Annotated[int, about("Proxy worker processes.", env="LLM_PROXY_WORKERS", ge=1, le=64)] = 1
    drain_s: Annotated[
        int, about("Seconds that running requests may take to end after SIGTERM.", env="LLM_PROXY_DRAIN_S", ge=0)
    ] = 25

    data_dir: Annotated[str, about("Databases, spool, embedded log and sockets lie here.", group="Storage")] = "./data"
    db_driver: Annotated[DbDriver, about("sqlite or postgres.")] = "sqlite"
    database_path: Annotated[
        str, about("The SQLite file; empty is DATA_DIR/llm-proxy.db. records.db lies beside it.")
    ] = ""
    database_url: Annotated[
        Secret | None, about("postgresql://user:password@host:5432/name, when DB_DRIVER=postgres.")
    ] = None
    database_pool_size: Annotated[int, about("Connections to PostgreSQL per process.", ge=1)] = 10
    database_timeout_ms: Annotated[
        int,
        about(
            "How long one statement or a wait for a connection may take.", env="LLM_PROXY_DATABASE_TIMEOUT_MS", ge=10
        ),
    ] = 5000
    retention_days: Annotated[int, about("Days after which recorded bodies are deleted; 0 keeps them.", ge=0)] = 30

    api_config_path: Annotated[str, about("The providers file; empty is the one that is shipped.", group="Proxy")] = ""
    default_api_provider: Annotated[str, about("The provider behind /v1; empty is the file's `default_api`.")] = ""
    include_usage: Annotated[
        tuple[str, ...],
        about(
            "Providers, as the providers file names them, whose chat streams are asked for their usage; it is "
            "kept from clients that did not ask.",
            env="LLM_PROXY_INCLUDE_USAGE",
        ),
    ] = ()
    processors: Annotated[
        tuple[str, ...],
        about(
            "Processors of the pipeline to run, separated by commas; empty runs all. The order is fixed.",
            env="LLM_PROXY_PROCESSORS",
        ),
    ] = ()
    upstream_client: Annotated[
        UpstreamClient,
        about("The HTTP client to the providers: http1, our own, or aiohttp.", env="LLM_PROXY_UPSTREAM_CLIENT"),
    ] = "http1"
    https_proxy: Annotated[
        Secret | None,
        about("http://user:password@host:port of a proxy that tunnels to https providers by CONNECT."),
    ] = None
    no_proxy: Annotated[
        str, about("Hosts that are reached without it, separated by commas: `example.com` names those below it, too.")
    ] = ""
    max_request_body_bytes: Annotated[
        int, about("Larger request bodies get 413.", env="LLM_PROXY_MAX_REQUEST_BODY_BYTES", ge=1)
    ] = 512 * 1024 * 1024
    request_body_look_ms: Annotated[
        int,
        about(
            "How often bodies that are still coming are looked at: one that came on by less than 1 KiB since gets 408.",
            env="LLM_PROXY_REQUEST_BODY_LOOK_MS",
            ge=10,
        ),
    ] = 30_000
    disconnect_drain_s: Annotated[
        int,
        about(
            "Projects with on_disconnect=drain: how long an answer is read on when its client has left.",
            env="LLM_PROXY_DISCONNECT_DRAIN_S",
            ge=1,
        ),
    ] = 60
    disconnect_drain_bytes: Annotated[
        int, about("And how much of it, at most.", env="LLM_PROXY_DISCONNECT_DRAIN_BYTES", ge=0)
    ] = 16 * 1024**2
    disconnect_drains: Annotated[
        int,
        about(
            "How many of these a worker reads at once; others are cancelled. 0: none.",
            env="LLM_PROXY_DISCONNECT_DRAINS",
            ge=0,
        ),
    ] = 100
    token_stale_s: Annotated[
        int,
        about(
            "Seconds that a known token without a quota keeps working while the database is away.",
            env="LLM_PROXY_TOKEN_STALE_S",
            ge=0,
        ),
    ] = 600
    changes_poll_ms: Annotated[
        int,
        about(
            "How often a worker asks what to forget; 100 at most where the database tells of no changes (SQLite).",
            env="LLM_PROXY_CHANGES_POLL_MS",
            ge=10,
            le=1000,
        ),
    ] = 250
    usage_flush_ms: Annotated[
        int, about("How often counts of tokens without a quota are written.", env="LLM_PROXY_USAGE_FLUSH_MS", ge=10)
    ] = 1000

"""What no single setting can know of itself: values that must parse further, and settings that need one another.

`load_settings` adds these to the mistakes of the single values, so that all are told at once. Whether a
MANAGEMENT_TOKEN is needed depends on what is started: the CLI asks for it.
"""

import base64
import binascii
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from config import addresses, paths
from config.client_address import trusted_networks
from config.errors import ConfigError
from config.policy import Policy, with_settings
from config.secret import Secret
from config.settings import EventBus, Settings

_SOCKET_PATH_BYTES: Final = 100  # sun_path holds 104 bytes on macOS and the BSDs, 108 on Linux
_KEY_BYTES: Final = 32
_REDIS_SCHEMES: Final = ("redis://", "rediss://")


def effective_event_bus(settings: Settings) -> EventBus:
    """The bus that is used: as set, else Redis where there is one, else the embedded log."""
    if settings.event_bus is not None:
        return settings.event_bus
    return "redis-streams" if settings.redis_url or settings.redis_addr else "embedded"


def is_bus_shared(settings: Settings) -> bool:
    """Whether other processes and hosts use the bus too: then dispatchers are processes of their own."""
    return effective_event_bus(settings) == "redis-streams"


def has_redis(settings: Settings) -> bool:
    """Whether limits are counted there, for several hosts."""
    return settings.redis_url is not None or bool(settings.redis_addr)


def mistakes_in(settings: Settings) -> list[str]:
    """One line per mistake, each saying what to do; no secret in any of them."""
    return [
        *_of_access(settings),
        *_of_listening(settings),
        *_of_storage(settings),
        *_of_events(settings),
        *_of_limits(settings),
    ]


def _of_access(settings: Settings) -> Iterator[str]:
    if settings.encryption_key is None:
        if settings.require_encryption_key:
            yield "ENCRYPTION_KEY: is required (REQUIRE_ENCRYPTION_KEY); make one with `openssl rand -base64 32`"
    elif not _is_key(settings.encryption_key):
        yield "ENCRYPTION_KEY: must be base64 of 32 bytes; make one with `openssl rand -base64 32`"
    try:
        trusted_networks(settings.trusted_proxies)
    except ConfigError as error:
        yield from error.mistakes


def _is_key(secret: Secret) -> bool:
    try:
        return len(base64.b64decode(secret.reveal().strip(), validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False


def _of_listening(settings: Settings) -> Iterator[str]:
    listeners = {
        "LISTEN_ADDR": settings.listen_addr,
        "ADMIN_UI_LISTEN_ADDR": settings.admin_ui_listen_addr,
        "METRICS_ADDR": settings.metrics_addr,
        "DISPATCHER_LISTEN_ADDR": settings.dispatcher_listen_addr,
    }
    taken: dict[addresses.Address, str] = {}
    for name, text in listeners.items():
        if not text and name in ("METRICS_ADDR", "DISPATCHER_LISTEN_ADDR"):
            continue
        try:
            address = addresses.parse(text, name)
        except ConfigError as error:
            yield from error.mistakes
            continue
        if address.port and (other := taken.setdefault(address, name)) != name:
            yield f"{name}: {text!r} is what {other} has; give it a port of its own"
    if not settings.metrics_path.startswith("/") or settings.metrics_path == "/":
        yield f"METRICS_PATH: {settings.metrics_path!r} must begin with / and be more than that"


def _of_storage(settings: Settings) -> Iterator[str]:
    if settings.database_path == ":memory:":
        yield "DATABASE_PATH: several processes share the database, so it must be a file"
    if settings.db_driver == "postgres":
        if settings.database_url is None:
            yield "DATABASE_URL: is required with DB_DRIVER=postgres; postgresql://user:password@host:5432/name"
        elif not settings.database_url.reveal().startswith(("postgresql://", "postgres://")):
            yield "DATABASE_URL: must begin with postgresql://"
    longest = os.fsencode(paths.keeper_socket(settings))
    if len(longest) > _SOCKET_PATH_BYTES:
        yield f"DATA_DIR: {settings.data_dir!r} is too long for the sockets in it; 88 bytes are the most"


def _of_events(settings: Settings) -> Iterator[str]:
    if effective_event_bus(settings) == "redis-streams":
        yield from _of_redis(settings)
    if settings.spool_segment_bytes > settings.spool_max_bytes // 2:
        yield "LLM_PROXY_SPOOL_SEGMENT_BYTES: LLM_PROXY_SPOOL_MAX_BYTES must have room for two segments at least"
    if settings.dispatcher_backoff_ms > settings.dispatcher_backoff_max_ms:
        yield "LLM_PROXY_DISPATCHER_BACKOFF_MS: is larger than LLM_PROXY_DISPATCHER_BACKOFF_MAX_MS"
    if "file" in settings.dispatcher_backends and not settings.file_event_log:
        yield "FILE_EVENT_LOG: is required with `file` among DISPATCHER_BACKENDS"


def _of_limits(settings: Settings) -> Iterator[str]:
    try:
        with_settings(Policy(), settings)
    except ConfigError as error:
        yield from error.mistakes
    if not re.fullmatch(r"[\w.:-]{1,100}", settings.distributed_rate_limit_prefix):
        yield "DISTRIBUTED_RATE_LIMIT_PREFIX: letters, digits and any of . : _ -, 100 at most"


def _of_redis(settings: Settings) -> Iterator[str]:
    if settings.redis_url is None and not settings.redis_addr:
        yield "REDIS_URL: is required with LLM_PROXY_EVENT_BUS=redis-streams; redis://user:password@host:6379/0"
    if settings.redis_url is not None and not settings.redis_url.reveal().startswith(_REDIS_SCHEMES):
        yield "REDIS_URL: must begin with redis:// or rediss://"
    if settings.redis_ca_file and not Path(settings.redis_ca_file).is_file():
        yield f"REDIS_CA_FILE: there is no file {settings.redis_ca_file}"
    if settings.redis_ca_file and settings.redis_url and not settings.redis_url.reveal().startswith("rediss://"):
        yield "REDIS_CA_FILE: REDIS_URL must begin with rediss:// to use it"
    if not re.fullmatch(r"[\w.:-]{1,100}", settings.redis_stream_key):
        yield f"REDIS_STREAM_KEY: {settings.redis_stream_key!r} must be letters, digits and . : _ - only"

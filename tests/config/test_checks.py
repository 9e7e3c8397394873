"""What settings must be together."""

import pytest
from msgspec import structs

from config.checks import effective_event_bus, mistakes_in
from config.secret import Secret
from config.settings import Settings

KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def told(**changed: object) -> list[str]:
    return mistakes_in(structs.replace(Settings(), **changed))


def test_the_defaults_are_right() -> None:
    assert told() == []


@pytest.mark.parametrize(
    ("changed", "name", "word"),
    [
        ({"encryption_key": Secret("c2hvcnQ=")}, "ENCRYPTION_KEY", "openssl rand -base64 32"),
        ({"encryption_key": Secret("!" * 44)}, "ENCRYPTION_KEY", "openssl rand -base64 32"),
        ({"encryption_key": Secret("ä" * 44)}, "ENCRYPTION_KEY", "base64 of 32 bytes"),
        ({"require_encryption_key": True}, "ENCRYPTION_KEY", "is required"),
        ({"trusted_proxies": ("10.0.0.0/8", "ten")}, "TRUSTED_PROXIES", "'ten'"),
        ({"listen_addr": "8080"}, "LISTEN_ADDR", "127.0.0.1:8080"),
        ({"admin_ui_listen_addr": ""}, "ADMIN_UI_LISTEN_ADDR", ":8080"),
        ({"metrics_addr": "localhost"}, "METRICS_ADDR", "no address"),
        ({"admin_ui_listen_addr": "0.0.0.0:8080"}, "ADMIN_UI_LISTEN_ADDR", "what LISTEN_ADDR has"),
        ({"metrics_path": "metrics"}, "METRICS_PATH", "begin with /"),
        ({"database_path": ":memory:"}, "DATABASE_PATH", "must be a file"),
        ({"db_driver": "postgres"}, "DATABASE_URL", "is required"),
        ({"db_driver": "postgres", "database_url": Secret("mysql://u:p@h/n")}, "DATABASE_URL", "postgresql://"),
        ({"data_dir": "/" + "d" * 100}, "DATA_DIR", "too long"),
        ({"event_bus": "redis-streams"}, "REDIS_URL", "is required"),
        ({"redis_url": Secret("http://h")}, "REDIS_URL", "redis:// or rediss://"),
        ({"redis_addr": "h:6379", "redis_ca_file": "no/such.pem"}, "REDIS_CA_FILE", "no file"),
        ({"redis_url": Secret("redis://h"), "redis_ca_file": __file__}, "REDIS_CA_FILE", "rediss://"),
        ({"redis_addr": "h:6379", "redis_stream_key": "a{b}"}, "REDIS_STREAM_KEY", "letters, digits"),
        ({"spool_segment_bytes": 2**21, "spool_max_bytes": 2**21}, "LLM_PROXY_SPOOL_SEGMENT_BYTES", "two segments"),
        ({"dispatcher_backoff_ms": 9, "dispatcher_backoff_max_ms": 8}, "LLM_PROXY_DISPATCHER_BACKOFF_MS", "larger"),
        ({"dispatcher_backends": ("file",)}, "FILE_EVENT_LOG", "is required"),
    ],
)
def test_a_mistake_names_the_setting_and_says_what_to_do(changed: dict[str, object], name: str, word: str) -> None:
    lines = told(**changed)

    assert len(lines) == 1
    assert lines[0].startswith(f"{name}: ")
    assert word in lines[0]


def test_a_database_url_is_in_no_message() -> None:
    lines = told(db_driver="postgres", database_url=Secret("mysql://user:hunter2@host/name"))

    assert "hunter2" not in "".join(lines)


@pytest.mark.parametrize(
    "changed",
    [
        {"encryption_key": Secret(KEY), "require_encryption_key": True},
        {"listen_addr": "127.0.0.1:0", "admin_ui_listen_addr": "127.0.0.1:0", "metrics_addr": ":0"},
        {"listen_addr": "[::1]:8080", "admin_ui_listen_addr": "[::1]:8081", "metrics_addr": "localhost:9090"},
        {"db_driver": "postgres", "database_url": Secret("postgres://u@h/n")},
        {"trusted_proxies": ("10.1.2.3/8", "::1")},
        {"redis_addr": "localhost:6379", "event_bus": "embedded"},
        {"dispatcher_backends": ("database", "file"), "file_event_log": "events.jsonl"},
    ],
)
def test_what_is_right_is_no_mistake(changed: dict[str, object]) -> None:
    assert told(**changed) == []


@pytest.mark.parametrize(
    ("settings", "bus"),
    [
        (Settings(), "embedded"),
        (Settings(redis_url=Secret("redis://h")), "redis-streams"),
        (Settings(redis_addr="h:6379"), "redis-streams"),
        (Settings(redis_addr="h:6379", event_bus="embedded"), "embedded"),
        (Settings(event_bus="in-memory"), "in-memory"),
    ],
)
def test_the_bus_is_redis_where_there_is_one_and_none_is_named(settings: Settings, bus: str) -> None:
    assert effective_event_bus(settings) == bus

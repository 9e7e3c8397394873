"""Databases with much in them, made by a few statements: tokens and projects, and recorded exchanges.

What is made has the shape of what the product writes, so that its own queries and look-ups read it; SQLite only.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from config.ids import new_token
from sql.sealing import hash_token, token_hint

PROJECTS: Final = 1000
"""Whose exchanges are in a filled `requests`, p-1 first."""
STEP_MS: Final = 50
"""Between two of them."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        yield connection


def add_tokens(path: Path, count: int) -> list[str]:
    """`count` projects, each with an API key like the first project's and a token; returns these."""
    fresh = [new_token() for _ in range(count)]
    with opened(path) as main:
        (like,) = main.execute("SELECT id FROM projects ORDER BY created_at_ms LIMIT 1").fetchone()
        main.executemany(
            "INSERT INTO projects (id, name, is_active, recording, created_at_ms, updated_at_ms, deactivated_at_ms)"
            " SELECT 'p-' || ?, 'project ' || ?, is_active, recording, created_at_ms, updated_at_ms, deactivated_at_ms"
            " FROM projects WHERE id = ?",
            ((n, n, like) for n in range(count)),
        )
        main.execute(
            "INSERT INTO api_keys (id, project_id, provider, key, weight, created_at_ms, updated_at_ms)"
            " SELECT p.id || '/' || k.id, p.id, k.provider, k.key, k.weight, k.created_at_ms,"
            " k.updated_at_ms FROM projects AS p, api_keys AS k WHERE p.id <> k.project_id AND k.project_id = ?"
            " AND k.provider = 'openai'",
            (like,),
        )
        main.executemany(
            "INSERT INTO tokens (id, project_id, token_hash, hint, is_active, expires_at_ms, max_requests,"
            " request_count, cache_hit_count, created_at_ms) SELECT 't-' || ?, 'p-' || ?, ?, ?, is_active,"
            " expires_at_ms, max_requests, 0, 0, created_at_ms FROM tokens WHERE project_id = ?",
            ((n, n, hash_token(token), token_hint(token), like) for n, token in enumerate(fresh)),
        )
    return fresh


def add_requests(path: Path, count: int) -> float:
    """`count` rows in `requests`, the newest of them now, and their sums a minute; returns the seconds it took.

    The indexes are made again afterwards, which is what makes it quick.
    """
    began, first_ms = time.monotonic(), time.time_ns() // 1_000_000 - count * STEP_MS
    with closing(sqlite3.connect(path, timeout=60, isolation_level=None)) as records:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -262144", "temp_store = FILE"):
            records.execute(f"PRAGMA {pragma}")
        of_requests = "FROM sqlite_master WHERE type = 'index' AND tbl_name = 'requests' AND sql IS NOT NULL"
        indexes = records.execute(f"SELECT name, sql {of_requests}").fetchall()
        for name, _ in indexes:
            records.execute(f"DROP INDEX {name}")
        records.execute(_ROWS, {"count": count, "first_ms": first_ms, "step_ms": STEP_MS, "projects": PROJECTS})
        for _, made_by in indexes:
            records.execute(made_by)
        for sums_of in ("project_id", "'*'"):
            records.execute(_MINUTES.format(sums_of=sums_of))
        records.execute("PRAGMA journal_mode = WAL")
    return time.monotonic() - began


_ROWS: Final = """
WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < :count)
INSERT INTO requests (event_id, request_id, accepted_at_ms, trace_id, method, path, status, code, client_ip, user_agent,
                      project_id, token_id, organisation, session_id, conversation_id, end_user, provider, dialect,
                      model, response_model, response_id, input_tokens, cache_read_tokens, cache_write_tokens,
                      output_tokens, reasoning_tokens, audio_input_tokens, audio_output_tokens, cost_microusd,
                      upstream_head_us, first_byte_us, last_byte_us, overhead_us, request_bytes, response_bytes,
                      streamed, cut, cached, attempts)
SELECT printf('%08x-%04x-7000-8000-%012x', (:first_ms + n * :step_ms) >> 16, (:first_ms + n * :step_ms) & 65535, n),
       printf('req-%x', n * 2654435761 % 4294967296), :first_ms + n * :step_ms, '', 'POST', '/v1/chat/completions',
       CASE WHEN n % 50 = 0 THEN 429 ELSE 200 END, CASE WHEN n % 50 = 0 THEN 'quota_exceeded' ELSE '' END,
       '10.0.0.1', 'OpenAI/Python 2.1.0', 'p-' || (n * 7919 % :projects), 't-' || (n * 7919 % :projects),
       '', '', '', '',
       CASE n % 3 WHEN 0 THEN 'anthropic' ELSE 'openai' END, CASE n % 3 WHEN 0 THEN 'anthropic' ELSE 'openai' END,
       'model-' || (n % 20), 'model-' || (n % 20), '', 120, 0, 0, 60, 0, 0, 0, 300, 200000, 210000,
       900000 + n % 1000, 400, 700, 1200, FALSE, '', FALSE, 1
FROM counted
"""
_MINUTES: Final = """
INSERT INTO request_minutes
SELECT {sums_of}, accepted_at_ms / 60000 * 60000, COUNT(*), SUM(status >= 400), SUM(input_tokens), SUM(output_tokens),
       SUM(cost_microusd)
FROM requests
GROUP BY 1, 2
"""

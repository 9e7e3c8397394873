"""A connection that hangs up instead of asking a frozen server for anything."""

from typing import Any

import psycopg
from psycopg import waiting
from psycopg.rows import DictRow


class PostgresConnection(psycopg.AsyncConnection[DictRow]):
    async def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """psycopg would ask the server to cancel and wait for its answer, which a frozen server never gives.

        Whoever cancels closes the connection instead.
        """
        return await waiting.wait_async(gen, self.pgconn.socket, interval=interval, timeout=timeout)

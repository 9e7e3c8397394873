"""LISTEN on a connection of its own: the database rings at each commit that wrote to `changes` (migration 0004).

A pooler that gives connections away after each transaction swallows the signals; readers then have their usual look.
"""

import asyncio
import logging
from typing import Final

import psycopg
from psycopg.pq.abc import PGconn

from config.logs import log
from config.secret import Secret
from sql.postgres_connection import PostgresConnection
from sql.postgres_errors import of_connecting
from sql.signals import Bell

_logger = logging.getLogger(__name__)

_AGAIN_S: Final = 1.0  # between attempts; changes are read without signals meanwhile
_CONNECT_S: Final = 10.0
_KEEPALIVE_S: Final = 20  # a line that is dead without a word is found after a minute


async def listen(url: Secret, bell: Bell) -> None:
    """Runs until it is cancelled. While the server is away `bell.is_connected` is False."""
    is_told = False
    while True:
        try:
            await _hear(url, bell)
        except (psycopg.Error, OSError) as error:  # TimeoutError is an OSError
            if not is_told:
                log(_logger, logging.WARNING, "no signals from PostgreSQL", reason=str(of_connecting(error)))
        is_told = not bell.is_connected
        bell.is_connected = False
        await asyncio.sleep(_AGAIN_S)


async def _hear(url: Secret, bell: Bell) -> None:
    """Returns or raises when the line is lost."""
    async with asyncio.timeout(_CONNECT_S):
        connection = await PostgresConnection.connect(
            url.reveal(), autocommit=True, keepalives_idle=_KEEPALIVE_S, keepalives_interval=_KEEPALIVE_S
        )
    try:
        async with asyncio.timeout(_CONNECT_S):
            await connection.execute("LISTEN llm_proxy_changes")
        await _until_lost(connection.pgconn, bell)
    finally:
        connection.pgconn.finish()


async def _until_lost(pgconn: PGconn, bell: Bell) -> None:
    loop, socket = asyncio.get_running_loop(), pgconn.socket
    lost: asyncio.Future[None] = loop.create_future()

    def heard() -> None:
        try:
            pgconn.consume_input()
        except psycopg.Error:
            loop.remove_reader(socket)
            lost.set_result(None)
            return
        while pgconn.notifies():
            bell.ring()

    loop.add_reader(socket, heard)
    try:
        bell.is_connected = True
        bell.ring()  # for what was committed before somebody listened
        await lost
    finally:
        loop.remove_reader(socket)

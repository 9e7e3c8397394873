"""Several connections of a process, and other processes that come and go: nobody takes the write-ahead log away."""

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from config.load import load_settings
from sql import migrate
from sql.repositories import requests
from sql.rows import RequestFilter
from sql.stores import open_stores
from tests.support import rows

_LOOK = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); print(c.execute('SELECT COUNT(*) FROM requests').fetchone()[0]); c.close()"  # noqa: E501


def seen_elsewhere(path: Path) -> int:
    """By a process that opens the file, looks, and closes it again."""
    done = subprocess.run([sys.executable, "-c", _LOOK, str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout)


async def test_rows_stay_visible_to_all_when_another_process_has_closed_the_file(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    environ = {"DATA_DIR": str(tmp_path), "DATABASE_PATH": str(tmp_path / "llm-proxy.db")}
    stores = open_stores(load_settings(environ))
    try:
        await migrate.up(stores)
        await requests.insert_many(stores.records, [rows.request()], [])
        pages = [requests.list_page(stores.records, RequestFilter(), limit=1) for _ in range(3)]
        await asyncio.gather(*pages)  # three connections more, opened while the first has its locks

        assert await asyncio.to_thread(seen_elsewhere, path) == 1
        assert path.with_name("records.db-wal").exists()
        await requests.insert_many(stores.records, [rows.request()], [])
        assert await asyncio.to_thread(seen_elsewhere, path) == 2
    finally:
        await stores.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)

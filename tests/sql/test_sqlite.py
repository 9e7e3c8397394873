"""SQLite's own: files, locks, full and read-only disks."""

import asyncio
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sql.errors import StoreFull, StoreUnavailable
from sql.repositories import projects
from sql.sqlite import SqliteDatabase
from sql.statements import compile_statement
from sql.stores import Stores
from tests.support import rows


async def test_it_runs_in_wal_with_foreign_keys(sqlite_stores: Stores) -> None:
    found: dict[str, object] = {}
    async with sqlite_stores.main.transaction() as on:
        for name in ("journal_mode", "synchronous", "foreign_keys"):
            row = await on.fetch_one(compile_statement(name, f"PRAGMA {name}"), {})
            found.update(row or {})

    assert found == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1}


async def test_records_lie_in_a_file_of_their_own(sqlite_stores: Stores, tmp_path: Path) -> None:
    await sqlite_stores.main.ping()

    assert {file.name for file in tmp_path.glob("*.db")} == {"llm-proxy.db", "records.db"}


async def test_only_the_owner_may_read_the_files(sqlite_stores: Stores, tmp_path: Path) -> None:
    await projects.create(sqlite_stores.main, rows.project())

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("*.db*")}

    assert len(modes) > 2  # with their side files
    assert set(modes.values()) == {0o600}


async def test_reading_goes_on_while_somebody_writes(sqlite_stores: Stores) -> None:
    row = rows.project()
    await projects.create(sqlite_stores.main, row)

    async with sqlite_stores.main.transaction() as transaction:
        await projects.create(transaction, rows.project())
        async with asyncio.timeout(60):
            found = await asyncio.gather(*(projects.get(sqlite_stores.main, row.id) for _ in range(20)))

    assert found == [row] * 20


@pytest.mark.slow
async def test_another_process_that_holds_the_lock_too_long_is_told_of(sqlite_stores: Stores, tmp_path: Path) -> None:
    impatient = SqliteDatabase(tmp_path / "llm-proxy.db", timeout_ms=5000)  # SQLite waits for four of the five seconds
    other = sqlite3.connect(tmp_path / "llm-proxy.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable, match="locked by another process"):
        await projects.create(impatient, rows.project())
    other.execute("ROLLBACK")
    await projects.create(impatient, rows.project())

    other.close()
    await impatient.close()


async def test_waiting_for_the_writer_has_an_end(sqlite_stores: Stores, tmp_path: Path) -> None:
    impatient = SqliteDatabase(tmp_path / "llm-proxy.db", timeout_ms=500)

    await impatient.ping()
    async with impatient.transaction():
        with pytest.raises(StoreUnavailable, match="still busy"):
            await projects.create(impatient, rows.project())

    await impatient.close()


async def test_a_full_disk_is_told_and_passes(sqlite_stores: Stores) -> None:
    big = {"name": "x" * 500_000}

    async def limit(pages: int) -> None:
        await sqlite_stores.main.execute(compile_statement("limit", f"PRAGMA max_page_count = {pages}"), {})

    await limit(1)  # SQLite takes the present size: the next page that it needs does not exist
    with pytest.raises(StoreFull, match="no room left"):
        await projects.create(sqlite_stores.main, rows.project(**big))

    await projects.create(sqlite_stores.main, rows.project(**big))  # over a new connection, which has no such limit
    assert await projects.count(sqlite_stores.main) == 1


async def test_a_folder_that_cannot_be_is_told_and_used_once_it_can(tmp_path: Path) -> None:
    in_the_way = tmp_path / "data"
    in_the_way.write_text("a file where the folder should be")
    database = SqliteDatabase(in_the_way / "llm-proxy.db", timeout_ms=5000)

    with pytest.raises(StoreFull, match="make its folder writable"):
        await database.ping()
    in_the_way.unlink()
    await database.ping()

    await database.close()


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "llm-proxy.db").write_bytes(b"no database at all" * 100)
    database = SqliteDatabase(tmp_path / "llm-proxy.db", timeout_ms=5000)

    with pytest.raises(StoreUnavailable, match="is no SQLite database"):
        await database.ping()

    await database.close()


READ_ONLY = """
import asyncio, os, sys
from pathlib import Path
from sql.errors import StoreFull
from sql.sqlite import SqliteDatabase
from sql.statements import compile_statement

async def main():
    database = SqliteDatabase(Path(sys.argv[1]) / "llm-proxy.db", timeout_ms=2000)
    try:
        await database.execute(compile_statement("make", "CREATE TABLE t (id TEXT)"), {})
    except StoreFull as error:
        print(error)
    await database.close()

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
asyncio.run(main())
"""


@pytest.mark.parametrize("has_file", [False, True])
def test_a_read_only_folder_is_told_in_one_line(tmp_path: Path, has_file: bool) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == Path.home().owner() and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    if has_file:
        sqlite3.connect(tmp_path / "llm-proxy.db").close()
        (tmp_path / "llm-proxy.db").touch()
        (tmp_path / "llm-proxy.db").chmod(0o444)
    tmp_path.chmod(0o555)

    run = subprocess.run([sys.executable, "-c", READ_ONLY, tmp_path], capture_output=True, text=True, timeout=60)
    tmp_path.chmod(0o755)

    assert "make its folder writable for this user" in run.stdout, run.stderr
    assert run.stdout.count("\n") == 1


async def test_a_process_that_forgets_to_close_still_ends(tmp_path: Path) -> None:
    script = (
        "import asyncio\nfrom pathlib import Path\nfrom sql.sqlite import SqliteDatabase\n"
        f"database = SqliteDatabase(Path({str(tmp_path / 'a.db')!r}), timeout_ms=5000)\nasyncio.run(database.ping())\n"
    )

    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )

    assert run.returncode == 0, run.stderr


OPENING = """
import asyncio, sys
from pathlib import Path
from sql.sqlite import SqliteDatabase

async def main():
    database = SqliteDatabase(Path(sys.argv[1]), timeout_ms=20_000)
    await asyncio.gather(*(database.ping() for _ in range(4)))
    await database.close()

asyncio.run(main())
"""


async def test_many_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    made = [
        subprocess.Popen([sys.executable, "-c", OPENING, tmp_path / "a.db"], stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]

    complaints = [process.communicate(timeout=60)[1] for process in made]

    assert [process.returncode for process in made] == [0] * 6, complaints

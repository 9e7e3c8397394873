"""Asking the keeper over a real socket: answers, bad lines, dead keepers, modes."""

import asyncio
import json
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from bus.bus import Entry
from bus.errors import BusError, BusUnavailable
from bus.inspection import BackendState, Inspection, serve_inspection
from bus.sqlite_log import SqliteLog


class Counters(msgspec.Struct):
    appended: int = 7


class StandInRelay:
    def stats(self) -> Counters:
        return Counters()


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    opened = await SqliteLog.open(tmp_path / "bus.db")
    await opened.ensure_groups(["database"])
    await opened.append(b"s", 1, 0, [Entry(b"e", b"payload")])
    yield opened
    await opened.close()


async def ask(path: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    await writer.drain()
    async with asyncio.timeout(60):
        answer = await reader.readline()
    writer.close()
    return answer


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "keeper.sock"


async def test_it_tells_bus_relay_and_backends(log: SqliteLog, socket_path: Path) -> None:
    states = [BackendState("database", "waiting", 3, "no connection")]

    async with serve_inspection(socket_path, log, StandInRelay(), lambda: states):
        stats = await Inspection(socket_path).stats()

    assert (stats.bus.entries, stats.bus.bytes, stats.bus.groups[0].name) == (1, 7, "database")
    assert stats.relay == {"appended": 7}
    assert list(stats.backends) == states


async def test_only_the_owner_may_connect_and_the_socket_goes_with_the_keeper(
    log: SqliteLog, socket_path: Path
) -> None:
    async with serve_inspection(socket_path, log):
        mode = socket_path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600

    assert not socket_path.exists()


async def test_a_socket_of_a_dead_keeper_is_replaced(log: SqliteLog, socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(socket_path))

    async with serve_inspection(socket_path, log):
        assert (await Inspection(socket_path).stats()).bus.entries == 1


async def test_a_second_keeper_takes_nothing_from_the_first(log: SqliteLog, socket_path: Path) -> None:
    """Beside Redis no lock on a log keeps them apart."""
    async with serve_inspection(socket_path, log):
        with pytest.raises(BusError, match="another keeper answers"):
            async with serve_inspection(socket_path, log):
                pass

        assert await Inspection(socket_path).stats()


async def test_a_file_in_the_way_is_kept_and_told(log: SqliteLog, socket_path: Path) -> None:
    socket_path.write_text("precious")

    with pytest.raises(BusError, match="cannot be made"):
        async with serve_inspection(socket_path, log):
            pass
    assert socket_path.read_text() == "precious"


async def test_a_deep_folder_works(log: SqliteLog, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 60)
    deep.mkdir(parents=True)

    async with serve_inspection(deep / "keeper.sock", log):
        assert (await Inspection(deep / "keeper.sock").stats()).bus.entries == 1


async def test_without_a_keeper_one_is_told_what_to_start(socket_path: Path) -> None:
    with pytest.raises(BusUnavailable, match="llm-proxy server"):
        await Inspection(socket_path).stats()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"nonsense\n", "expected a line"),
        (b'{"ask": "dance"}\n', "dance"),
        (b"{}\n", "expected a line"),
        (b"\xff\n", "expected a line"),
    ],
)
async def test_a_bad_line_gets_an_error_and_the_talk_goes_on(
    log: SqliteLog, socket_path: Path, line: bytes, says: str
) -> None:
    async with serve_inspection(socket_path, log):
        reader, writer = await asyncio.open_unix_connection(socket_path)
        writer.write(line + b'{"ask": "stats"}\n')

        first, second = json.loads(await reader.readline()), json.loads(await reader.readline())
        writer.close()

    assert says in first["error"]
    assert second["ok"]["bus"]["entries"] == 1


async def test_an_endless_line_is_hung_up_on(log: SqliteLog, socket_path: Path) -> None:
    async with serve_inspection(socket_path, log):
        assert await ask(socket_path, b"x" * 70_000) == b""
        assert (await Inspection(socket_path).stats()).bus.entries == 1


async def test_a_closed_log_is_an_answer_not_a_hang(log: SqliteLog, socket_path: Path) -> None:
    async with serve_inspection(socket_path, log):
        await log.close()

        with pytest.raises(BusUnavailable, match="closed"):
            await Inspection(socket_path).stats()


async def test_many_ask_at_once(log: SqliteLog, socket_path: Path) -> None:
    async with serve_inspection(socket_path, log), asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(Inspection(socket_path).stats()) for _ in range(20)]

    assert {task.result().bus.appended for task in asked} == {1}

"""The nudge from worker to relay: at once when somebody listens, harmless when nobody does."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
import uvloop

from bus.wake import Wake, WakeListener


async def test_a_poke_ends_the_wait(tmp_path: Path) -> None:
    listener, wake = WakeListener(tmp_path / "wake.sock"), Wake(tmp_path / "wake.sock")
    asyncio.get_running_loop().call_later(0.02, wake.poke)

    assert await listener.wait(60)

    listener.close()
    wake.close()


async def test_a_poke_before_the_wait_counts_and_many_are_one(tmp_path: Path) -> None:
    listener, wake = WakeListener(tmp_path / "wake.sock"), Wake(tmp_path / "wake.sock")
    for _ in range(5000):  # more than a socket's queue takes
        wake.poke()

    assert await listener.wait(60)
    assert not await listener.wait(0.01)

    listener.close()
    wake.close()


def test_it_works_on_uvloop(tmp_path: Path) -> None:
    async def poked() -> tuple[bool, bool]:
        listener, wake = WakeListener(tmp_path / "wake.sock"), Wake(tmp_path / "wake.sock")
        try:
            wake.poke()
            return await listener.wait(60), await listener.wait(0.01)
        finally:
            listener.close()
            wake.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(poked()) == (True, False)


def test_a_poke_to_nobody_is_nothing(tmp_path: Path) -> None:
    wake = Wake(tmp_path / "missing" / "wake.sock")
    wake.poke()

    (tmp_path / "dead.sock").touch()
    Wake(tmp_path / "dead.sock").poke()


async def test_a_path_longer_than_a_socket_takes_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    listener, wake = WakeListener(folder / "wake.sock"), Wake(folder / "wake.sock")
    wake.poke()

    assert await listener.wait(60)

    listener.close()
    wake.close()


async def test_a_listener_takes_the_place_of_a_dead_one(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(tmp_path / "wake.sock"))  # the name stays when it is closed
    listener, wake = WakeListener(tmp_path / "wake.sock"), Wake(tmp_path / "wake.sock")
    wake.poke()

    assert await listener.wait(60)
    assert (tmp_path / "wake.sock").stat().st_mode & 0o777 == 0o600

    for end in (listener, wake):
        end.close()


async def test_without_a_socket_the_wait_is_a_pause(tmp_path: Path) -> None:
    listener = WakeListener(tmp_path / "missing" / "wake.sock")
    start = time.monotonic()

    assert not await listener.wait(0.05)
    assert time.monotonic() - start >= 0.05

    listener.close()


async def test_a_cancelled_wait_leaves_the_listener_usable(tmp_path: Path) -> None:
    listener, wake = WakeListener(tmp_path / "wake.sock"), Wake(tmp_path / "wake.sock")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(listener.wait(60), 0.02)
    wake.poke()

    assert await listener.wait(60)
    assert isinstance(listener._socket, socket.socket)

    listener.close()
    wake.close()


async def test_a_second_listener_takes_nothing_from_the_first(tmp_path: Path) -> None:
    first, wake = WakeListener(tmp_path / "wake.sock"), Wake(tmp_path / "wake.sock")

    WakeListener(tmp_path / "wake.sock").close()
    wake.poke()

    assert await first.wait(60)
    first.close()
    wake.close()

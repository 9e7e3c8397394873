"""The folder of large payloads: whole files or none, for its owner's eyes only, and gone by age alone."""

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bus.claims import Claim, ClaimFolder
from bus.errors import ClaimAway, ClaimLost
from config.settings import RecordMode

EVENT = b"event-0000000000"
HOUR_MS = 3_600_000
NOON_MS = 1_795_262_400_000  # 2026-11-21 12:00 UTC


@pytest.fixture
def folder(tmp_path: Path) -> ClaimFolder:
    made = ClaimFolder(tmp_path / "claims")
    made.make_store()
    return made


def write(folder: ClaimFolder, at_ms: int = NOON_MS, event: bytes = EVENT, payload: bytes = b"payload") -> Claim:
    return folder.write(event, payload, folder.store(), at_ms)


def file_of(claim: Claim, root: Path) -> Path:
    return root / "claims" / claim.key.partition("/")[2]


@pytest.mark.parametrize("record", ["os", "disk", "async"])
def test_what_is_written_can_be_read_and_is_named_by_its_hour_and_event(tmp_path: Path, record: RecordMode) -> None:
    folder = ClaimFolder(tmp_path / "claims", record)
    store = folder.make_store()
    claim = write(folder)

    assert folder.read(Claim.decode(claim.encode())) == b"payload"
    assert claim.key == f"{store}/2026-11-21/12/{EVENT.hex()}"


def test_nobody_else_may_look_into_it(folder: ClaimFolder, tmp_path: Path) -> None:
    write(folder)

    places = [tmp_path / "claims", *(tmp_path / "claims").rglob("*")]
    assert {stat.S_IMODE(place.stat().st_mode) for place in places if place.is_dir()} == {0o700}
    assert {stat.S_IMODE(place.stat().st_mode) for place in places if place.is_file()} == {0o600}


def test_writing_the_same_event_again_leaves_one_whole_file(folder: ClaimFolder, tmp_path: Path) -> None:
    first, second = write(folder), write(folder)

    assert first == second
    assert [path.name for path in file_of(first, tmp_path).parent.iterdir()] == [EVENT.hex()]


def test_a_write_that_fails_leaves_nothing(folder: ClaimFolder, tmp_path: Path) -> None:
    claim = write(folder, event=b"other")
    taken = file_of(claim, tmp_path).with_name(EVENT.hex())
    taken.mkdir()  # as a disk that fails at the last step

    with pytest.raises(OSError, match="directory"):
        write(folder)

    assert {path.name for path in taken.parent.iterdir()} == {EVENT.hex(), b"other".hex()}


def test_only_hours_that_have_ended_go_and_what_is_somebody_elses_stays(folder: ClaimFolder, tmp_path: Path) -> None:
    claims = [write(folder, NOON_MS + n * HOUR_MS) for n in (-13, -1, 0, 1)]
    strange = tmp_path / "claims" / "backup" / "12"
    strange.mkdir(parents=True)

    assert folder.expire(NOON_MS + HOUR_MS - 1) == 2

    assert [file_of(claim, tmp_path).exists() for claim in claims] == [False, False, True, True]
    assert strange.exists()
    assert not (tmp_path / "claims" / "2026-11-20").exists()


def unmount(root: Path) -> None:
    for path in (root / "claims").iterdir():
        path.rename(root / path.name)


def mount_another(root: Path) -> None:
    (root / "claims").rename(root / "old")
    ClaimFolder(root / "claims").make_store()


@pytest.mark.parametrize("happens", [unmount, mount_another, lambda root: (root / "claims").rename(root / "elsewhere")])
def test_a_folder_that_is_not_there_is_away_and_is_not_written_into(
    folder: ClaimFolder, tmp_path: Path, happens: Callable[[Path], object]
) -> None:
    claim, store = write(folder), folder.store()
    happens(tmp_path)

    with pytest.raises(ClaimAway):
        folder.read(claim)
    with pytest.raises(OSError, match="mounted"):
        folder.write(EVENT, b"payload", store, NOON_MS)

    assert not (tmp_path / "claims" / "2026-11-21").exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"payloaX"),
        lambda file: file.write_bytes(b"payload and more"),
    ],
)
def test_a_file_that_is_gone_or_damaged_is_lost(
    folder: ClaimFolder, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    claim = write(folder)
    damage(file_of(claim, tmp_path))

    with pytest.raises(ClaimLost):
        folder.read(claim)


@pytest.mark.parametrize("path", ["../../etc/passwd", "2026-11-21/12/../../STORE", "", "2026-11-21/12/x/y"])
def test_a_reference_cannot_lead_out_of_the_folder(folder: ClaimFolder, path: str) -> None:
    reference = Claim(f"{folder.store()}/{path}", 32, b"").encode()

    with pytest.raises(ClaimLost):
        Claim.decode(reference)


@given(st.binary() | st.binary(min_size=1).map(lambda text: b"\x93" + bytes([0xA0 | len(text) % 32]) + text))
@example(b"\x93\xa1\xff\x00\xa0")
def test_what_is_no_reference_is_lost(reference: bytes) -> None:
    with pytest.raises(ClaimLost):
        Claim.decode(reference)


def test_of_several_who_make_it_at_once_all_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        stores = set(threads.map(lambda _: ClaimFolder(tmp_path / "claims").make_store(), range(32)))

    assert len(stores) == 1
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["STORE"]

"""The frame codec: what is written is read, damage costs one frame, and nothing is invented."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.frames import HEADER_BYTES, MAGIC, Frame, Kind, pack, scan, seed_of
from bus.segments import Segment, SegmentReader, cut_torn_tail

SEED = seed_of(b"0123456789abcdef")
PAYLOADS = st.lists(st.binary(max_size=60) | st.sampled_from([MAGIC, MAGIC * 3, b"\0" * 40]), max_size=8)


def log_of(payloads: Sequence[bytes]) -> list[bytes]:
    return [
        pack(Kind.FINISHED, payload, seed=SEED, seq=seq, event_id=seq.to_bytes(16, "big"), ts_ms=seq)
        for seq, payload in enumerate(payloads)
    ]


def read(log: bytes, *, resync: bool = True) -> list[Frame]:
    return scan(log, seed=SEED, left=0, resync=resync).frames


def content(frames: Sequence[Frame]) -> list[tuple[int, bytes]]:
    return [(frame.seq, frame.payload) for frame in frames]


@given(PAYLOADS)
def test_what_is_written_is_read(payloads: list[bytes]) -> None:
    frames = read(b"".join(log_of(payloads)) + bytes(500))

    assert content(frames) == list(enumerate(payloads))


@given(PAYLOADS, st.integers(1, 100), st.booleans())
def test_a_log_read_in_stretches_gives_the_same_frames(payloads: list[bytes], size: int, resync: bool) -> None:
    log = b"".join(log_of(payloads)) + bytes(70)
    at, wanted, frames = 0, size, list[Frame]()
    while at < len(log):
        stretch = log[at : at + wanted]
        found = scan(stretch, seed=SEED, left=len(log) - at - len(stretch), resync=resync)
        frames += found.frames
        at += found.used
        wanted = max(found.wanted, size)
        if not found.used and found.wanted <= len(stretch):
            break

    assert content(frames) == list(enumerate(payloads))


@pytest.mark.parametrize("resync", [True, False])
def test_a_log_cut_at_any_byte_gives_exactly_its_whole_frames(resync: bool) -> None:
    frames = log_of([b"first", b"", b"third of them", MAGIC + b"fourth", b"5" * 90])
    log = b"".join(frames)
    ends = [len(b"".join(frames[: n + 1])) for n in range(len(frames))]
    for cut in range(len(log) + 1):
        whole = sum(end <= cut for end in ends)

        assert [frame.seq for frame in read(log[:cut], resync=resync)] == list(range(whole)), cut
        assert [frame.seq for frame in read(log[:cut] + bytes(64), resync=resync)] == list(range(whole)), cut


def test_any_flipped_bit_costs_one_frame_and_invents_none() -> None:
    payloads = [b"first", b"", b"third of them", MAGIC + b"fourth"]
    log = b"".join(log_of(payloads))
    for bit in range(len(log) * 8):
        damaged = bytearray(log)
        damaged[bit // 8] ^= 1 << bit % 8

        found = content(read(bytes(damaged)))

        assert set(found) <= set(enumerate(payloads)), bit
        assert len(found) == len(payloads) - 1, bit


@given(PAYLOADS, st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=20))
def test_any_damage_at_all_invents_no_frame(payloads: list[bytes], damage: list[tuple[int, int]]) -> None:
    log = bytearray(b"".join(log_of(payloads)))
    for at, value in damage:
        if at < len(log):
            log[at] = value

    assert set(content(read(bytes(log)))) <= set(enumerate(payloads))


def test_a_frame_imitated_inside_a_body_is_not_believed_when_its_own_frame_is_damaged() -> None:
    forged = pack(Kind.FINISHED, b"forged", seed=seed_of(b"another spool...."), seq=1, event_id=bytes(16), ts_ms=1)
    log = bytearray(log_of([forged + b"rest", b"next"])[0])
    log[HEADER_BYTES - 1] ^= 1

    assert read(bytes(log)) == []


def test_without_resync_reading_stops_at_damage_and_goes_on_when_it_is_whole() -> None:
    first, second, third = log_of([b"a", b"b" * 50, b"c"])
    log = first + second[:-20] + bytes(20) + third

    found = scan(log, seed=SEED, left=0, resync=False)

    assert [frame.seq for frame in found.frames] == [0]
    assert found.used == len(first)
    assert [frame.seq for frame in read(first + second + third, resync=False)] == [0, 1, 2]


def test_a_length_beyond_the_file_is_damage_and_nothing_is_waited_for() -> None:
    huge = pack(Kind.FINISHED, b"x" * 200, seed=SEED, seq=0, event_id=bytes(16), ts_ms=0)[:100]

    found = scan(huge, seed=SEED, left=50, resync=False)

    assert (found.frames, found.used, found.wanted) == ([], 0, 0)


def test_frames_larger_than_a_stretch_are_read(tmp_path: Path) -> None:
    frames = log_of([b"a" * 3_000_000, b"b", b"c" * 1_500_000])
    segment = Segment.create(tmp_path, 0, 8 * 1024**2, frames)
    segment.close()
    reader, at, seqs = SegmentReader(tmp_path, 0, SEED), 0, list[int]()
    while (found := reader.read(at, is_sealed=False)).used:
        at += found.used
        seqs += [frame.seq for frame in found.frames]
    reader.close()

    assert seqs == [0, 1, 2]


def test_the_torn_tail_and_the_unused_room_are_cut_off(tmp_path: Path) -> None:
    frames = log_of([b"a" * 100, b"b"])
    segment = Segment.create(tmp_path, 0, 3 * 1024**2, [*frames, frames[0][:-3]])
    segment.close()

    cut_torn_tail(tmp_path, 0, SEED)

    assert (tmp_path / f"{0:020d}.seg").stat().st_size == len(b"".join(frames))

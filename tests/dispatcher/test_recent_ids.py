"""A memory of ids that stays small."""

from hypothesis import given
from hypothesis import strategies as st

from config.ids import new_id
from dispatcher.backends.recent_ids import RecentIds


@given(st.integers(2, 50), st.lists(st.integers(1, 40), max_size=20))
def test_the_newest_are_known_and_the_memory_is_bounded(most: int, batches: list[int]) -> None:
    recent, ids = RecentIds(most), list[str]()

    for size in batches:
        batch = [new_id() for _ in range(size)]
        recent.add(batch)
        ids += batch

    assert all(event_id in recent for event_id in ids[-most:])
    assert len(recent) <= 1.5 * most + 1
    assert sum(event_id in recent for event_id in ids) == len(recent)


def test_ids_of_others_are_known_too() -> None:
    recent = RecentIds(2)

    recent.add(["no-uuid-of-ours"])

    assert "no-uuid-of-ours" in recent
    assert "no-uuid-of-theirs" not in recent

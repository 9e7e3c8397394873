"""Many rows by one statement: each of them, in order, with its own values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sql.repeated import pieces
from sql.repositories import requests
from sql.stores import Stores
from tests.support.rows import request

TEXT = "INSERT INTO t (a, b) VALUES (:a, :b) ON CONFLICT (a) DO NOTHING RETURNING a"


@given(st.integers(0, 400))
def test_every_row_stands_in_one_statement_with_its_values_in_order(count: int) -> None:
    found = list(pieces(TEXT, [{"b": -number, "a": number} for number in range(count)]))

    assert [value for _, values in found for value in values] == [n for row in range(count) for n in (row, -row)]
    assert all(text.count("(?, ?)") == len(values) // 2 for text, values in found)
    assert all(text.endswith(" ON CONFLICT (a) DO NOTHING RETURNING a") for text, _ in found)


def test_batches_of_any_size_share_a_few_texts() -> None:
    texts = {text for count in range(300) for text, _ in pieces(TEXT, [{"a": 1, "b": 2}] * count)}

    assert len(texts) == 4


@pytest.mark.parametrize("text", ["INSERT INTO t SELECT :a", "INSERT INTO t VALUES (:a) RETURNING :b"])
def test_a_text_with_parameters_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="stand in its VALUES"):
        list(pieces(text, [{"a": 1, "b": 2}]))


@pytest.mark.parametrize("count", [1, 3, 64, 91, 300])
async def test_as_many_rows_as_come_are_kept_with_their_own_values(stores: Stores, count: int) -> None:
    rows = [request(path=f"/v1/{number}", request_bytes=number, streamed=number % 2 == 1) for number in range(count)]
    again = rows[: count // 2]

    assert await requests.insert_many(stores.records, again, []) == len(again)
    assert await requests.insert_many(stores.records, rows, []) == count - len(again)

    kept = [await requests.get(stores.records, row.event_id) for row in rows]
    assert kept == rows

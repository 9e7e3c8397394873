"""The request log and one exchange of it."""

import gzip
import re
import zlib
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from admin.bodies import body_view
from sql.repositories import audit, requests
from sql.rows import AuditFilter, BodyRow, RequestRow
from tests.admin.pages.site import Site, project, request_row, token


async def put(site: Site, *rows: RequestRow, bodies: list[BodyRow] | None = None) -> None:
    await requests.insert_many(site.stores.records, rows, bodies or [])


def paths(page: str) -> list[str]:
    return re.findall(r'<td data-label="Request"[^>]*><span class="mono">\w+ ([^<]+)', page)


def body(data: bytes, *, encoding: str = "", truncated: bool = False, event_id: str = "e") -> BodyRow:
    return BodyRow(
        event_id=event_id,
        side="response",
        data=data,
        content_type="application/json",
        content_encoding=encoding,
        truncated=truncated,
    )


async def test_the_newest_come_first_with_their_projects_name(signed_in: Site) -> None:
    row = await project(signed_in.stores, "Support bot")
    await put(signed_in, request_row(60, path="/v1/older"), request_row(5, path="/v1/newer", project_id=row.id))

    page = (await signed_in.get("/admin/requests")).text

    assert paths(page) == ["/v1/newer", "/v1/older"]
    assert ">Support bot</a>" in page
    assert "2 requests" in page


FOUND = {
    "model=gpt-x": ["/model"],
    "provider=gemini": ["/provider"],
    "status=4": ["/refused"],
    "status=5": ["/failed"],
    "status=0": ["/unsent"],
    "request_id=special": ["/request-id"],
    "window=24h&model=old": ["/old"],
    "model=old": [],
    # What cannot be read does not filter: an old bookmark is no error.
    "status=9&model=gpt-x": ["/model"],
    "window=1000y&model=gpt-x": ["/model"],
    "after=nonsense&model=gpt-x": ["/model"],
    "trail=%00&model=gpt-x": ["/model"],
}


async def test_filters_choose(signed_in: Site) -> None:
    await put(
        signed_in,
        request_row(1, path="/model", model="gpt-x"),
        request_row(2, path="/provider", provider="gemini"),
        request_row(3, path="/refused", status=401, code="token_expired"),
        request_row(4, path="/failed", status=502, code="upstream_cut"),
        request_row(5, path="/unsent", status=0, cut="interrupted"),
        request_row(6, path="/request-id", request_id="special-123"),
        request_row(7200, path="/old", model="old"),
    )

    assert {query: paths((await signed_in.get(f"/admin/requests?{query}")).text) for query in FOUND} == FOUND


async def test_older_and_newer_are_the_same_pages_in_both_directions(signed_in: Site) -> None:
    await put(signed_in, *(request_row(number, path=f"/{number}") for number in range(130)))

    def link(page: str, label: str) -> str:
        found = re.search(rf'<a class="button" href="([^"]+)"[^>]*>{label}<', page)
        return found[1].replace("&amp;", "&") if found else ""

    first = (await signed_in.get("/admin/requests")).text
    second = (await signed_in.get(link(first, "Older"))).text
    await put(signed_in, request_row(0, path="/came-meanwhile"))
    third = (await signed_in.get(link(second, "Older"))).text

    assert paths(first) + paths(second) + paths(third) == [f"/{number}" for number in range(130)]
    assert link(third, "Older") == ""
    assert paths((await signed_in.get(link(third, "Newer"))).text) == paths(second)
    assert paths((await signed_in.get(link(third, "Newest"))).text)[0] in ("/0", "/came-meanwhile")


async def test_filters_stay_from_page_to_page(signed_in: Site) -> None:
    await put(signed_in, *(request_row(n, path=f"/{n}", model=f"m{n % 2}") for n in range(150)))

    page = (await signed_in.get("/admin/requests?model=m1&window=24h")).text
    older = re.findall(r'href="([^"]+)"[^>]*>Older<', page)[0].replace("&amp;", "&")

    assert "model=m1" in older
    assert "window=24h" in older
    assert all(int(path[1:]) % 2 == 1 for path in paths((await signed_in.get(older)).text))


async def test_an_exchange_shows_its_facts_timings_and_usage(signed_in: Site) -> None:
    row = await project(signed_in.stores, "Support bot")
    made, _ = await token(signed_in.stores, row.id)
    exchange = request_row(project_id=row.id, token_id=made.id)
    await put(signed_in, exchange)

    page = (await signed_in.get(f"/admin/requests/{exchange.event_id}")).text

    for fact in ("req-000000", "Support bot", made.hint, "gpt-4.1-mini", "conv-1", "user-17", "10.0.0.7"):
        assert fact in page
    assert re.search(r"<dt>Cost</dt><dd>unknown</dd>", page)
    assert re.findall(r"<td>([A-Z][a-z ]+)</td><td class=\"number\">([^<]+)", page) == [
        ("Input", "812"),
        ("Cache read", "1\u202f024"),
        ("Output", "96"),
        ("Reasoning", "40"),
    ]
    assert re.findall(r'<rect class="(\w+)" x="([\d.]+)"', page) == [
        ("wait", "0.0"),
        ("head", "180.0"),
        ("body", "197.4"),
    ]


async def test_an_exchange_of_nobody_is_shown_too(signed_in: Site) -> None:
    exchange = request_row(
        status=401, code="invalid_token", provider="", model="", upstream_head_us=None, first_byte_us=None,
        last_byte_us=None, input_tokens=None, cache_read_tokens=None, cache_write_tokens=None, output_tokens=None,
        reasoning_tokens=None, attempts=0,
    )  # fmt: skip
    await put(signed_in, exchange)

    page = (await signed_in.get(f"/admin/requests/{exchange.event_id}")).text

    assert "invalid_token" in page
    assert "The provider told none" in page


async def test_a_recorded_json_body_is_laid_out(signed_in: Site) -> None:
    exchange = request_row()
    recorded = body(gzip.compress(b'{"a":{"b":[1,2]}}'), encoding="gzip", event_id=exchange.event_id)
    await put(signed_in, exchange, bodies=[recorded])

    page = (await signed_in.get(f"/admin/requests/{exchange.event_id}")).text

    assert "{\n  &#34;a&#34;: {\n    &#34;b&#34;: [" in page


async def test_looking_at_bodies_is_audited_and_looking_at_figures_is_not(signed_in: Site) -> None:
    spoken, silent = request_row(1), request_row(2)
    await put(signed_in, spoken, silent, bodies=[body(b"hello", event_id=spoken.event_id)])

    await signed_in.get(f"/admin/requests/{silent.event_id}")
    await signed_in.get(f"/admin/requests/{spoken.event_id}")

    rows = await audit.list_page(signed_in.stores.main, AuditFilter(action="request.read_bodies"), limit=5)
    assert [(row.object_id, row.actor) for row in rows] == [(spoken.event_id, "management_token")]


def test_a_body_that_unpacks_to_gigabytes_is_cut() -> None:
    bomb = gzip.compress(b"a" * 50_000_000)

    view = body_view(body(bomb, encoding="gzip"))

    assert view.text is not None
    assert len(view.text) <= 1024 * 1024


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("br", brotli.compress), ("zstd", zstandard.compress), ("deflate", zlib.compress), ("deflate", bare_deflate)],
)
def test_other_encodings_are_unpacked(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    assert body_view(body(pack(b"hello"), encoding=encoding)).text == "hello"


def test_the_character_that_the_limit_cut_through_is_left_out() -> None:
    view = body_view(body("grüße".encode()[:3], truncated=True))

    assert view.text == "gr"


@given(data=st.binary(max_size=300), encoding=st.sampled_from(["", "gzip", "br", "zstd", "deflate", "odd", "gzip, br"]))
def test_any_bytes_are_shown_or_said_to_be_no_text(data: bytes, encoding: str) -> None:
    view = body_view(body(data, encoding=encoding, truncated=True))

    assert view.size == len(data)
    assert view.text is None or isinstance(view.text, str)


@pytest.mark.slow
async def test_a_long_log_is_counted_no_further_than_people_read(signed_in: Site) -> None:
    await put(signed_in, *(request_row(number % 3000) for number in range(10_100)))

    assert "More than 10\u202f000 requests" in (await signed_in.get("/admin/requests")).text


async def test_a_page_tells_who_counted_and_who_set_the_price(signed_in: Site) -> None:
    counted = request_row(usage_source="provider", price_source="override", service_tier="flex", cost_microusd=1250)
    estimated = request_row(usage_source="estimate", price_source="", cost_microusd=None)
    await put(signed_in, counted)
    await put(signed_in, estimated)

    told = (await signed_in.get(f"/admin/requests/{counted.event_id}")).text
    guessed = (await signed_in.get(f"/admin/requests/{estimated.event_id}")).text

    assert "a price of yours, flex" in told
    assert "Estimated from the text" not in told
    assert "Estimated from the text" in guessed
    assert "<dt>Price</dt>" not in guessed

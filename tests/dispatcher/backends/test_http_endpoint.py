"""What a status, a fault and a Retry-After mean, the same for every backend that speaks HTTP."""

import asyncio
import gzip
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.secret import Secret
from dispatcher.backends.base import Outcome, Permanent, Retry, Unknown
from dispatcher.backends.http import Answer, Endpoint, Rules, retry_after_ms
from tests.support import http_sink
from tests.support.http_sink import HttpSink, says
from tests.support.upstream import Received, Upstream, Wire, running_upstream
from tests.support.waiting import eventually, eventually_async

KEY = "sk-the-key-that-nobody-may-see"


class Agreeable(HttpSink):
    async def behave(self, received: Received, wire: Wire) -> None:
        await wire.reply(200, b"fine")


@pytest.fixture
def sink() -> Iterator[Agreeable]:
    with running_upstream() as upstream:
        yield Agreeable(upstream, "/in")


@pytest.fixture
async def endpoint(sink: Agreeable) -> AsyncIterator[Endpoint]:
    opened = to(sink.url)
    yield opened
    await opened.close()


def to(url: str, timeout_s: float = 5.0, rules: Rules | None = None) -> Endpoint:
    headers = {"authorization": f"Bearer {KEY}"}
    return Endpoint(
        url, headers=headers, secrets=[Secret(KEY)], fixed_by="THE_URL", timeout_s=timeout_s, at_once=2, rules=rules
    )


async def post(endpoint: Endpoint, within_s: float = 10.0, *, is_alone: bool = False) -> Answer | Outcome:
    until = asyncio.get_running_loop().time() + within_s
    return await endpoint.post(b"{}", {}, until=until, is_alone=is_alone)


async def test_an_answer_in_the_two_hundreds_is_the_backends_to_read(sink: Agreeable, endpoint: Endpoint) -> None:
    assert await post(endpoint) == Answer(200, b"fine")
    assert sink.received[0].all("authorization") == [f"Bearer {KEY}".encode()]


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_refusal_is_sure_only_of_a_single_event(sink: Agreeable, endpoint: Endpoint, status: int) -> None:
    sink.next(says(status, b"bad field"), says(status, b"bad field"))

    said = f"127.0.0.1:{sink.upstream.port} answered {status}: bad field"
    assert await post(endpoint) == Permanent(said)
    assert await post(endpoint, is_alone=True) == Permanent(said, is_sure=True)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 407, 410, 415])
async def test_wrong_settings_bury_nothing_and_are_named(sink: Agreeable, endpoint: Endpoint, status: int) -> None:
    sink.next(says(status, b"no such project"))

    outcome = await post(endpoint, is_alone=True)

    assert isinstance(outcome, Retry)
    assert outcome.reason.endswith(f"answered {status}: no such project; check THE_URL")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(sink: Agreeable, endpoint: Endpoint, status: int) -> None:
    with running_upstream() as elsewhere:
        location = f"{elsewhere.url}/in?session=hidden".encode()
        sink.next(says(status, b"", (b"location", location)))

        outcome = await post(endpoint)

        assert isinstance(outcome, Retry)
        assert "a redirect to 127.0.0.1; check THE_URL" in outcome.reason
        assert elsewhere.received == []


@pytest.mark.parametrize("status", [500, 502, 504, 520])
async def test_after_an_error_of_the_server_nobody_knows(sink: Agreeable, endpoint: Endpoint, status: int) -> None:
    sink.next(says(status, b"a page that may repeat what was sent"))

    outcome = await post(endpoint, is_alone=True)

    assert isinstance(outcome, Unknown)
    assert "page" not in outcome.reason


@pytest.mark.parametrize("status", [429, 503, 500, 408])
async def test_a_retry_after_is_obeyed_in_seconds(sink: Agreeable, endpoint: Endpoint, status: int) -> None:
    sink.next(says(status, b"", (b"retry-after", b"7")))

    outcome = await post(endpoint)

    assert isinstance(outcome, Retry)
    assert outcome.after_ms == 7000


async def test_a_retry_after_is_obeyed_as_a_date(sink: Agreeable, endpoint: Endpoint) -> None:
    date = format_datetime(datetime.fromtimestamp(datetime.now(UTC).timestamp() + 30, UTC), usegmt=True)
    sink.next(says(503, b"", (b"retry-after", date.encode())))

    outcome = await post(endpoint)

    assert isinstance(outcome, Retry)
    assert 27_000 <= (outcome.after_ms or 0) <= 30_000


def test_a_retry_after_in_the_past_or_without_sense_delays_nothing() -> None:
    now_ms = 1_795_000_000_000

    assert retry_after_ms("Wed, 21 Oct 2015 07:28:00 GMT", now_ms) == 0
    assert retry_after_ms("0", now_ms) == 0
    for odd in ("", "soon", "-5", "1e9", "٣", "Wed, 99 Oct 2015 07:28:00 GMT", "1.5"):
        assert retry_after_ms(odd, now_ms) is None


@given(st.text())
def test_no_retry_after_can_crash_the_reader(value: str) -> None:
    told = retry_after_ms(value, 1_795_000_000_000)

    assert told is None or told >= 0


async def test_another_kind_of_no_is_halved_and_then_tried_again(sink: Agreeable, endpoint: Endpoint) -> None:
    sink.next(says(418), says(418))

    assert isinstance(await post(endpoint), Permanent)
    assert isinstance(await post(endpoint, is_alone=True), Retry)


async def test_a_port_where_nobody_listens_took_nothing() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = to(f"http://127.0.0.1:{unused.getsockname()[1]}/")

        outcome = await post(endpoint)

    assert isinstance(outcome, Retry)
    assert "cannot be reached" in outcome.reason


@pytest.mark.parametrize("fault", [http_sink.takes_and_cuts, http_sink.cuts, http_sink.cuts_in_the_body])
async def test_after_a_lost_connection_nobody_knows(
    sink: Agreeable, endpoint: Endpoint, fault: http_sink.Fault
) -> None:
    sink.next(fault)

    assert isinstance(await post(endpoint), Unknown)


@pytest.mark.parametrize("fault", [http_sink.never_answers, http_sink.drips])
async def test_it_waits_no_longer_than_it_may(sink: Agreeable, endpoint: Endpoint, fault: http_sink.Fault) -> None:
    sink.next(fault)

    async with asyncio.timeout(60):
        outcome = await post(endpoint, within_s=0.3)

    assert isinstance(outcome, Unknown)
    eventually(lambda: sink.upstream.open_connections == 0)


async def test_an_answer_without_end_is_not_read_to_its_end(sink: Agreeable, endpoint: Endpoint) -> None:
    sink.next(http_sink.answers_without_end)

    answer = await post(endpoint)

    assert isinstance(answer, Answer)
    assert len(answer.body) == 1024 * 1024
    eventually(lambda: sink.upstream.open_connections == 0)


async def test_an_answer_in_gzip_is_read_within_bounds(sink: Agreeable, endpoint: Endpoint) -> None:
    encoded = (b"content-encoding", b"gzip")
    sink.next(says(200, gzip.compress(b"fine"), encoded), says(200, gzip.compress(b"\0" * 50_000_000), encoded))

    assert await post(endpoint) == Answer(200, b"fine")
    bomb = await post(endpoint)

    assert isinstance(bomb, Answer)
    assert len(bomb.body) <= 4 * 1024 * 1024
    assert sink.received[0].all("accept-encoding") == [b"identity"]


async def test_one_connection_serves_call_after_call(sink: Agreeable, endpoint: Endpoint) -> None:
    for _ in range(20):
        await post(endpoint)

    assert sink.upstream.connections == 1


async def test_calls_that_are_cut_off_take_no_connection_with_them(endpoint: Endpoint) -> None:
    """At any step, by the end of their own time and a moment later by that of the delivery: httpcore's pool is left
    without these connections, and for good."""
    async with asyncio.timeout(60):
        for steps in range(40):
            await post(endpoint)
            call = asyncio.create_task(post(endpoint))
            for _ in range(steps):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait([call])

        assert await post(endpoint) == Answer(200, b"fine")


async def test_a_call_that_is_cut_off_leaves_its_neighbour_alone(sink: Agreeable, endpoint: Endpoint) -> None:
    sink.next(http_sink.never_answers, answers_late)
    cut_off = asyncio.create_task(post(endpoint))
    await eventually_async(lambda: _came(sink, 0))
    neighbour = asyncio.create_task(post(endpoint))
    await eventually_async(lambda: _came(sink, 1))

    cut_off.cancel()
    after = await post(endpoint)

    assert after == await neighbour == Answer(200, b"fine")


async def _came(sink: Agreeable, known: int) -> bool:
    return len(sink.received) > known


async def answers_late(sink: HttpSink, received: Received, wire: Wire) -> None:
    await asyncio.sleep(0.3)
    await sink.behave(received, wire)


async def test_what_the_other_side_repeats_of_our_key_is_masked(
    sink: Agreeable, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    echo = f"you\r\nsent\x1b[31m Bearer {KEY} and more".encode() + b"\xff" * 1000
    sink.next(says(401, echo), says(422, echo))

    with caplog.at_level(logging.DEBUG):
        outcomes = [await post(endpoint), await post(endpoint)]

    for outcome in outcomes:
        assert not isinstance(outcome, Answer | Unknown) and hasattr(outcome, "reason")
        assert KEY not in outcome.reason
        assert "you sent [31m Bearer ******** and more" in outcome.reason
        assert len(outcome.reason) < 300
    assert KEY not in caplog.text


async def test_rules_may_say_otherwise(sink: Agreeable) -> None:
    rules = Rules(taken=frozenset({409}), refused=frozenset({500}))
    endpoint = to(sink.url, rules=rules)
    sink.next(says(409, b"done"), says(500), says(400))

    assert await post(endpoint) == Answer(409, b"done")
    assert isinstance(await post(endpoint), Permanent)
    assert isinstance(await post(endpoint, is_alone=True), Retry)
    await endpoint.close()


async def test_after_close_it_opens_again(upstream: Upstream, sink: Agreeable) -> None:
    endpoint = to(sink.url)
    await post(endpoint)
    await endpoint.close()

    assert await post(endpoint) == Answer(200, b"fine")
    await endpoint.close()

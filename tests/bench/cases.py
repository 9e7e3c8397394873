"""What is asked of every contender: the table of cases, and how long a run looks at each."""

from typing import Final

from msgspec import Struct

from tests.bench.load import CHAT, Job

TLS_PREFIX: Final = "/openrouter"
"""Calls below it go to the upstream over TLS: one of the providers that the stand configures."""
AGAIN: Final = "ours again"
"""The A/A pair: the same program in processes of its own."""


class Case(Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    """Of the load: json, burst or streams."""
    concurrency: int
    size: int = 1024
    """Bytes of the request's body."""
    events: int = 0
    gap_ms: float = 0
    spread: bool = True
    is_tls: bool = False
    """To the upstream."""
    is_refused: bool = False
    """The token is nobody's."""
    has_pair: bool = False
    """A bar hangs on it, so the noise is measured."""

    @property
    def unit(self) -> str:
        return "chunks/s" if self.events else "req/s"

    def job(self, port: int, token: str, seconds: float) -> Job:
        """As it is sent to whatever passes paths on."""
        return Job(
            kind=self.kind,
            port=port,
            token="nobody-has-this-token" if self.is_refused else token,
            target=TLS_PREFIX + CHAT if self.is_tls else CHAT,
            status=401 if self.is_refused else 200,
            concurrency=self.concurrency,
            seconds=seconds,
            longest_s=4,
            events=self.events,
            gap_ms=self.gap_ms,
            spread=self.spread,
            size=self.size,
        )


def _json(concurrency: int, *, has_pair: bool = False) -> Case:
    return Case(name=f"JSON, c={concurrency}", kind="json", concurrency=concurrency, has_pair=has_pair)


def _paced(streams: int, gap_ms: float, *, has_pair: bool = False) -> Case:
    name = f"SSE paced, {streams} streams"
    events = round(1000 / gap_ms)
    return Case(name=name, kind="streams", concurrency=streams, events=events, gap_ms=gap_ms, has_pair=has_pair)


ALONE: Final = _json(1, has_pair=True)
JSON: Final = _json(64, has_pair=True)
BURST: Final = Case(name="SSE burst", kind="burst", concurrency=16, events=50, has_pair=True)
PACED: Final = _paced(64, 10, has_pair=True)
SCALED: Final = Case(name="2 workers on 2 cores, JSON, c=64", kind="json", concurrency=64)
WHOLE: Final = Case(name="whole product on one core, JSON, c=64", kind="json", concurrency=64)

QUICK_CASES: Final = (ALONE, JSON, BURST, PACED)
CASES: Final = (
    ALONE,
    _json(16),
    JSON,
    _json(256),
    Case(name="100 KiB request body, c=16", kind="json", concurrency=16, size=100 * 1024),
    BURST,
    PACED,
    _paced(512, 80),  # as many chunks a second as the 64
    Case(name="unknown token, c=16", kind="json", concurrency=16, is_refused=True),
    Case(name="TLS upstream, c=16", kind="json", concurrency=16, is_tls=True),
)


class Plan(Struct, frozen=True):
    """How long to look."""

    cases: tuple[Case, ...]
    rounds: int
    seconds: float
    """Of one contender's turn in a round; paced streams take theirs."""
    with_whole: bool
    """Also the whole product on one core, on either bus, and two workers."""
    stream_events: int
    """Of the long stream whose memory is watched."""
    size: int
    """Bytes of the large bodies whose memory is watched."""


FULL: Final = Plan(CASES, rounds=5, seconds=1.0, with_whole=True, stream_events=150_000, size=200 * 1024 * 1024)
QUICK: Final = Plan(QUICK_CASES, rounds=3, seconds=0.3, with_whole=False, stream_events=50_000, size=50 * 1024 * 1024)

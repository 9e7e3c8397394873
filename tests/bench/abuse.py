"""`python -m tests.bench.abuse [--minutes 10]`: bad clients at once, held, while an ordinary one goes on calling.

Writes abuse.md beside this; fails when the worker grows meanwhile, keeps anything afterwards, or the ordinary client
has any answer but the right one.
"""

import argparse
import contextlib
import json
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final

from msgspec import Struct

from tests.bench.abuse_report import as_markdown
from tests.bench.bad_clients import Bad
from tests.bench.gauges import Look, counted, growth, look
from tests.bench.stand import WholeProduct, running_mock, running_proxy
from tests.bench.watching import watched
from tests.support.proxy import Proxy
from tests.support.waiting import eventually

_REPORT: Final = Path(__file__).with_name("abuse.md")
_CLIENTS: Final = {
    "head a byte a second": 100,
    "body a byte a second": 50,
    "small body a byte a second": 50,
    "body of nobody": 20,
    "not reading": 20,
    "upstream a byte a second": 100,
    "odd head": 4,
    "full pool": 60,
    "dropped": 10,
}
_QUIET_S: Final = 20.0
"""Before and after, with the ordinary client alone."""
MOST_GROWTH: Final = 0.10
_CALL: Final = json.dumps({"model": "gpt-4.1", "messages": [{"role": "user", "content": "How are you?"}]})
_IN_FLIGHT: Final = "llm_proxy_inflight_requests"


class Answer(Struct, frozen=True):
    """What the ordinary client was told."""

    at_s: float
    ms: float
    told: str


class Found(Struct, frozen=True, kw_only=True):
    began: datetime
    clients: dict[str, int]
    told: dict[str, dict[str, int]]
    before: list[Answer]
    during: list[Answer]
    after: list[Answer]
    looks: list[Look]
    """The first before, the last after all bad clients are gone."""


class Ordinary:
    """Ten calls a second over one connection, on a thread of its own."""

    def __init__(self, proxy: Proxy, began: float) -> None:
        self._proxy, self._began = proxy, began
        self.answers: list[Answer] = []
        self._stop = threading.Event()

    @contextlib.contextmanager
    def calling(self) -> Iterator[None]:
        thread = threading.Thread(target=self._call_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _call_on(self) -> None:
        connection = HTTPConnection("127.0.0.1", self._proxy.port, timeout=60)
        while not self._stop.wait(0.1):
            began = time.monotonic()
            told = self._told(connection)
            now = time.monotonic()
            self.answers.append(Answer(now - self._began, (now - began) * 1000, told))

    def _told(self, connection: HTTPConnection) -> str:
        headers = {"authorization": f"Bearer {self._proxy.token}", "content-type": "application/json"}
        try:
            connection.request("POST", "/v1/chat/completions", _CALL, headers)
            response = connection.getresponse()
            response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            return type(error).__name__
        return str(response.status)

    def taken(self) -> list[Answer]:
        """Since the last time."""
        taken, self.answers = self.answers, []
        return taken


def run(minutes: float, every_s: float, quiet_s: float = _QUIET_S) -> Found:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16_384)), hard))
    small_pool = {"azure": {"connection": {"max_connections": 4}}}
    with tempfile.TemporaryDirectory(prefix="llm-proxy-abuse-") as folder, running_mock() as mock:
        with running_proxy(Path(folder), mock, WholeProduct, apis=small_pool) as product:
            return _abused(product, minutes, every_s, quiet_s)


def _abused(product: Proxy, minutes: float, every_s: float, quiet_s: float) -> Found:
    started, began = datetime.now(UTC), time.monotonic()
    ordinary = Ordinary(product, began)
    with ordinary.calling():
        time.sleep(quiet_s)
        looks, before = [look(product, began)], ordinary.taken()
        bad = Bad(port=product.port, token=product.token, seconds=minutes * 60, clients=_CLIENTS)
        more, told = watched(product, "tests.bench.bad_clients", bad, began=began, every_s=every_s, told=_line)
        looks += more
        during = ordinary.taken()
        with contextlib.suppress(AssertionError):  # then it is a complaint
            eventually(lambda: counted(product).get(_IN_FLIGHT, 9) <= 1, every_s=1)
        ordinary.taken()
        time.sleep(quiet_s)
        looks.append(look(product, began))
        after = ordinary.taken()
    return Found(
        began=started, clients=_CLIENTS, told=json.loads(told), before=before, during=during, after=after, looks=looks
    )


def _line(seen: Look) -> str:
    return f"{seen.at_s:.0f} s: {seen.processes.get('worker')}"


def under_abuse(looks: Sequence[Look]) -> list[Look]:
    """While all bad clients are there, after the first fifth."""
    held = list(looks[1:-2])
    return held[len(held) // 5 :]


def complaints(found: Found) -> list[str]:
    said = []
    for part in found.looks[0].processes:
        points = [(one.at_s, one.processes[part].rss_mib) for one in under_abuse(found.looks) if part in one.processes]
        if growth(points) > MOST_GROWTH:
            said.append(f"memory of {part} grew by {growth(points):.0%} while they were there")
    wrong = Counter(a.told for a in [*found.before, *found.during, *found.after] if a.told != "200")
    said += [f"the ordinary client was told {told}, {count} times" for told, count in wrong.items()]
    first, last = found.looks[0], found.looks[-1]
    if (left := last.counted.get(_IN_FLIGHT, 0)) > 1:
        said.append(f"{left:.0f} exchanges were under way after they had left")
    if (more := last.processes["worker"].files - first.processes["worker"].files) > 150:
        said.append(f"{more} more files were open after they had left")
    return said


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.abuse", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--every", type=float, default=15, help="seconds between two looks")
    parser.add_argument("--out", type=Path, default=_REPORT)
    chosen = parser.parse_args()
    found = run(chosen.minutes, chosen.every)
    said = complaints(found)
    chosen.out.write_text(as_markdown(found, said, under_abuse(found.looks)))
    print(*(said or ["held"]), sep="\n")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())

"""What each process of a running product holds: memory, open files, threads; and whether it grows.

Processes are told apart by their part in the product. Growth is a Theil-Sen slope: the median of the slopes between all
pairs of looks, which a few odd minutes cannot bend.
"""

import contextlib
import statistics
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Final

import httpx
from msgspec import Struct

from tests.bench.memory import MIB, family
from tests.support.proxy import Proxy

_SMALL: Final = 16 * MIB
"""Below it a process is multiprocessing's tracker, or one that is just being started."""
_CONNECTIONS: Final = ("llm_proxy_upstream_connections", "llm_proxy_upstream_waiting", "llm_proxy_inflight_requests")
COUNTED: Final = (*_CONNECTIONS, "llm_proxy_record_dropped_total", "llm_proxy_record_failures_total")


class Gauge(Struct, frozen=True):
    """Of one process at one moment."""

    rss_mib: float
    files: int
    """Open ones, sockets included."""
    threads: int


class Look(Struct, frozen=True):
    """At the whole product."""

    at_s: float
    """Since the beginning of the run."""
    processes: dict[str, Gauge]
    counted: dict[str, float]
    """Some of /metrics, added up over labels, by name; of the connections only those that are open."""


def look(proxy: Proxy, began: float) -> Look:
    assert proxy.process is not None
    found: dict[str, Gauge] = {}
    for pid in family(proxy.process.pid):
        with contextlib.suppress(OSError, KeyError):  # it has just ended
            gauge = gauge_of(pid)
            if gauge.rss_mib * MIB > _SMALL:
                found[_free_name(part_of(pid), found)] = gauge
    return Look(time.monotonic() - began, found, counted(proxy))


def gauge_of(pid: int) -> Gauge:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    rss_kib = int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
    files, threads = (sum(1 for _ in Path(f"/proc/{pid}/{kind}").iterdir()) for kind in ("fd", "task"))
    return Gauge(rss_kib / 1024, files, threads)


def part_of(pid: int) -> str:
    """`keeper`, `admin`, `supervise`; Granian's main process is `proxy`, what it forked is `worker`."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    part = next((word[1:].decode() for word in words if word[:1] == b"_"), "other")
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    is_fork = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0") == words
    return "worker" if part == "proxy" and is_fork else part


def _free_name(part: str, taken: dict[str, Gauge]) -> str:
    same = sum(name.split(" ")[0] == part for name in taken)
    return f"{part} {same + 1}" if same else part


def counted(proxy: Proxy) -> dict[str, float]:
    """Empty when the proxy does not answer in time."""
    try:
        text = httpx.get(f"{proxy.url}/metrics/prometheus", timeout=30).text
    except httpx.TransportError:
        return {}
    sums = dict.fromkeys(COUNTED, 0.0)
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name in sums:
            sums[name] += float(line.rpartition(" ")[2])
    return sums


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Theil-Sen, of y per x; 0 for less than two points."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2) if b[0] != a[0]]
    return statistics.median(slopes) if slopes else 0.0


def growth(points: Sequence[tuple[float, float]]) -> float:
    """Along the slope from the first point to the last, as a part of where it begins."""
    if len(points) < 2:
        return 0.0
    steepness = slope(points)
    start = statistics.median(y - steepness * (x - points[0][0]) for x, y in points)
    return steepness * (points[-1][0] - points[0][0]) / start if start else 0.0

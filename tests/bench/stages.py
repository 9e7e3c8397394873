"""Where an exchange's time goes, stage by stage: the worker's own histograms over one load of a single connection.

A single connection waits for nobody, so the means are what a stage takes, not what it queues for.
"""

import re
from typing import Final

import httpx
from msgspec import Struct

from tests.bench.cases import ALONE
from tests.bench.load import Job, Told
from tests.bench.memory import cpu_of_family
from tests.bench.stand import do
from tests.support.proxy import Proxy

_SECONDS: Final = 2.0
_LINE: Final = re.compile(r"(\w+)_(sum|count)(?:\{([^}]*)\})? (\S+)")
_PROVIDER: Final = 'provider="openai"'
_PARTS: Final = (
    ("llm_proxy_record_seconds", "", "the record: noting the beginning, making and appending the event"),
    ("llm_proxy_upstream_duration_seconds", _PROVIDER, "calling the upstream, until its head is here"),
    ("llm_proxy_overhead_seconds", _PROVIDER, "overhead: from accept to the reply's head, less waiting for others"),
    ("llm_proxy_request_duration_seconds", f'{_PROVIDER},status="2xx"', "the exchange, until it is recorded"),
)


class Stage(Struct, frozen=True):
    name: str
    mean_us: float


def stages(proxy: Proxy, upstream_port: int) -> list[Stage]:
    """Processors in the order of the list, then what lies across them, then what lies around the pipeline."""

    def job(port: int, seconds: float = _SECONDS) -> Job:
        return ALONE.job(port, proxy.token, seconds)

    assert proxy.process is not None
    direct = do(job(upstream_port, 0.5))
    do(job(proxy.port, 0.5))
    before, cpu_before = _totals(proxy), cpu_of_family(proxy.process.pid)
    told = do(job(proxy.port))
    cpu_s = cpu_of_family(proxy.process.pid) - cpu_before
    means = _means(before, _totals(proxy))
    processors = [(key[1], us) for key, us in means.items() if key[0] == "llm_proxy_processor_seconds"]
    found = [Stage(f"{label.split(chr(34))[1]}, until it lets proceed", us) for label, us in processors]
    found += [Stage(text, means[name, label]) for name, label, text in _PARTS if (name, label) in means]
    whole_us = means.get(("llm_proxy_request_duration_seconds", f'{_PROVIDER},status="2xx"'), 0.0)
    return [*found, *_around(told, direct, whole_us, cpu_s)]


def _around(told: Told, direct: Told, whole_us: float, cpu_s: float) -> list[Stage]:
    seen_us = told.seconds / told.count * 1e6
    return [
        Stage("around the pipeline: server, sockets, load generator", seen_us - whole_us),
        Stage("as the client sees it", seen_us),
        Stage("the same without a proxy", direct.seconds / direct.count * 1e6),
        Stage("processor time of the worker", cpu_s / told.count * 1e6),
    ]


def _totals(proxy: Proxy) -> dict[tuple[str, str], tuple[float, float]]:
    """Sum and count of every histogram so far, by name and labels."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name, part, labels, value in _LINE.findall(httpx.get(f"{proxy.url}/metrics/prometheus", timeout=60).text):
        found.setdefault((name, labels), {})[part] = float(value)
    return {key: (parts["sum"], parts["count"]) for key, parts in found.items() if len(parts) > 1}


def _means(
    before: dict[tuple[str, str], tuple[float, float]], after: dict[tuple[str, str], tuple[float, float]]
) -> dict[tuple[str, str], float]:
    means = {}
    for key, (total, count) in after.items():
        total_before, count_before = before.get(key, (0.0, 0.0))
        if count > count_before:
            means[key] = (total - total_before) / (count - count_before) * 1e6
    return means

"""Metrics as text: the JSON that the Go program has at /metrics, and Prometheus text 0.0.4 below it."""

import gc
import resource
from typing import Any, Final

from app.metrics import Snapshot

HELP: Final = {
    "llm_proxy_uptime_seconds": ("gauge", "Seconds since this worker started."),
    "llm_proxy_requests_total": ("counter", "Exchanges that ended, refused ones too."),
    "llm_proxy_errors_total": ("counter", "Exchanges that ended with a status of 400 or more."),
    "llm_proxy_cache_hits_total": ("counter", "Replies served from the cache."),
    "llm_proxy_cache_misses_total": ("counter", "Replies that the cache did not have."),
    "llm_proxy_cache_bypass_total": ("counter", "Exchanges that went round the cache."),
    "llm_proxy_cache_stores_total": ("counter", "Replies put into the cache."),
    "llm_proxy_inflight_requests": ("gauge", "Exchanges under way."),
    "llm_proxy_refusals_total": ("counter", "Exchanges that ended with an error of ours, by code."),
    "llm_proxy_prompt_tokens_total": ("counter", "Model tokens read, by provider."),
    "llm_proxy_completion_tokens_total": ("counter", "Model tokens written, by provider."),
    "llm_proxy_cost_microusd_total": ("counter", "What exchanges cost, as far as it is known, by provider."),
    "llm_proxy_cost_unknown_total": ("counter", "Exchanges with usage for which no price is known, by provider."),
    "llm_proxy_exchanges_cut_total": ("counter", "Exchanges that ended before their end, by who cut them."),
    "llm_proxy_drains_total": ("counter", "Answers that were read on after their client had left."),
    "llm_proxy_drains_refused_total": ("counter", "Answers that were cancelled instead: too many were read on."),
    "llm_proxy_drains_running": ("gauge", "Answers that are being read on without a client."),
    "llm_proxy_request_duration_seconds": ("histogram", "Accept to last byte, by provider and class of status."),
    "llm_proxy_upstream_duration_seconds": ("histogram", "Call to head of the upstream, by provider."),
    "llm_proxy_upstream_connections": ("gauge", "Connections to a provider, by what they do."),
    "llm_proxy_upstream_waiting": ("gauge", "Exchanges that wait for a connection to a provider."),
    "llm_proxy_upstream_dials_total": ("counter", "New connections to a provider that were tried."),
    "llm_proxy_time_to_first_byte_seconds": ("histogram", "Accept to first byte of the reply's body, by provider."),
    "llm_proxy_overhead_seconds": ("histogram", "Our own share until the reply's head, by provider."),
    "llm_proxy_processor_seconds": ("histogram", "A processor's own time until it proceeds, in one exchange of 16."),
    "llm_proxy_record_seconds": ("histogram", "Time that an exchange spent on its record."),
    "llm_proxy_recorded_total": ("counter", "Events in the spool."),
    "llm_proxy_record_dropped_total": ("counter", "Events that the spool had no room for."),
    "llm_proxy_record_bodies_dropped_total": ("counter", "Events that lost their bodies to a nearly full spool."),
    "llm_proxy_record_failures_total": ("counter", "Events that the spool failed to take."),
    "llm_proxy_spool_bytes": ("gauge", "Size of the spool."),
    "llm_proxy_store_away": ("gauge", "Workers that cannot reach the database."),
    "llm_proxy_dispatcher_recorded_events": ("gauge", "Events that the bus was ever given."),
    "llm_proxy_dispatcher_delivered_events": ("gauge", "Events that a backend has, ever."),
    "llm_proxy_dispatcher_parked_events": ("gauge", "Events that wait in a parking lot, by backend."),
    "llm_proxy_dispatcher_dropped_events": (
        "gauge",
        "Events that a backend never gets: purged, lost, or from before it.",
    ),
    "llm_proxy_dispatcher_lag_events": ("gauge", "Events that a backend's dispatchers have not been handed yet."),
    "llm_proxy_dispatcher_lag_seconds": ("gauge", "Age of the oldest event that a backend does not have yet."),
    "llm_proxy_dispatcher_pending_events": ("gauge", "Events handed out or to be tried again, by backend."),
    "llm_proxy_dispatcher_dead_letters": ("gauge", "Dead letters there are, by backend."),
    "llm_proxy_dispatcher_delivered_total": ("counter", "Events that this dispatcher delivered, by backend."),
    "llm_proxy_dispatcher_retried_total": ("counter", "Deliveries that are to be tried again, by backend."),
    "llm_proxy_dispatcher_dead_total": ("counter", "Events that this dispatcher made dead letters, by backend."),
    "llm_proxy_dispatcher_in_flight_events": ("gauge", "Events that are being delivered, by backend."),
    "llm_proxy_dispatcher_in_flight_bytes": ("gauge", "Their size in memory."),
    "llm_proxy_dispatcher_failures_in_a_row": ("gauge", "Failed tries of a backend since its last success."),
    "llm_proxy_dispatcher_breaker_open": ("gauge", "1 while a backend is only probed."),
    "llm_proxy_dispatcher_breaker_opened_total": ("counter", "How often a backend's breaker has opened."),
    "llm_proxy_dispatcher_bus_away": ("gauge", "1 while the event bus does not answer the dispatcher."),
    "llm_proxy_memory_max_rss_bytes": ("gauge", "Most memory that this worker has held."),
    "llm_proxy_python_gc_collections_total": ("counter", "Collections of the garbage collector in this worker."),
}
_ALWAYS: Final = (  # shown from the start, as the Go program does: a panel without a series looks broken
    "llm_proxy_requests_total",
    "llm_proxy_errors_total",
    "llm_proxy_cache_hits_total",
    "llm_proxy_cache_misses_total",
    "llm_proxy_cache_bypass_total",
    "llm_proxy_cache_stores_total",
)


def as_json(snapshot: Snapshot, uptime_s: float) -> dict[str, Any]:
    """The known fields first; everything else by its Prometheus name."""
    counters = snapshot.counters
    return {
        "uptime_seconds": round(uptime_s, 3),
        "request_count": counters.get("llm_proxy_requests_total", 0),
        "error_count": counters.get("llm_proxy_errors_total", 0),
        "cache_hits": counters.get("llm_proxy_cache_hits_total", 0),
        "cache_misses": counters.get("llm_proxy_cache_misses_total", 0),
        "cache_bypass": counters.get("llm_proxy_cache_bypass_total", 0),
        "cache_stores": counters.get("llm_proxy_cache_stores_total", 0),
        "counters": counters,
        "gauges": snapshot.gauges,
    }


def as_prometheus(snapshot: Snapshot, uptime_s: float, *, always: tuple[str, ...] = _ALWAYS) -> str:
    samples: dict[str, list[str]] = {}
    for key in always:
        snapshot.counters.setdefault(key, 0)
    for key, value in {**snapshot.counters, **snapshot.gauges, **_process(uptime_s)}.items():
        samples.setdefault(_family(key), []).append(
            f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
        )
    for key, histogram in snapshot.histograms.items():
        samples.setdefault(_family(key), []).extend(
            _histogram_lines(key, histogram.bounds, histogram.counts, histogram.total_s)
        )
    lines = []
    for family in sorted(samples):
        kind, text = HELP.get(family, ("untyped", ""))
        lines += [f"# HELP {family} {text}", f"# TYPE {family} {kind}", *samples[family]]
    return "\n".join(lines) + "\n"


def _family(key: str) -> str:
    return key.partition("{")[0]


def _histogram_lines(key: str, bounds: tuple[float, ...], counts: list[int], total_s: float) -> list[str]:
    name, _, labels = key.partition("{")
    inner = labels.rstrip("}")
    comma = "," if inner else ""
    lines, running = [], 0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        running += count
        text = "+Inf" if bound == float("inf") else f"{bound:g}"
        lines.append(f'{name}_bucket{{{inner}{comma}le="{text}"}} {running}')
    braces = f"{{{inner}}}" if inner else ""
    return [*lines, f"{name}_sum{braces} {total_s:g}", f"{name}_count{braces} {running}"]


def _process(uptime_s: float) -> dict[str, int | float]:
    return {
        "llm_proxy_uptime_seconds": float(round(uptime_s, 3)),
        "llm_proxy_memory_max_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "llm_proxy_python_gc_collections_total": sum(s["collections"] for s in gc.get_stats()),
    }

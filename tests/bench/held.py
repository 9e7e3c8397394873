"""Memory: of an idle worker and an idle product, and of a worker while large bodies and a long stream pass."""

from collections.abc import Callable

from msgspec import Struct

from tests.bench.cases import Plan
from tests.bench.load import Job
from tests.bench.memory import MIB, Watch, family, memory_of, worker_pid
from tests.bench.stand import do
from tests.support.proxy import Proxy


class Held(Struct, frozen=True):
    """Memory in MiB."""

    name: str
    seconds: float
    rss_before: float
    rss_most: float
    rss_after: float
    pss_before: float
    pss_most: float
    pss_after: float


def memory_held(plan: Plan, proxy: Proxy) -> list[Held]:
    token, port, pid = proxy.token, proxy.port, worker_pid(proxy)
    jobs = {
        f"{plan.size // MIB} MiB request body": Job(kind="upload", port=port, token=token, size=plan.size),
        f"{plan.size // MIB} MiB response body": Job(kind="download", port=port, token=token, size=plan.size),
        f"a stream of {plan.stream_events:,} events": Job(
            kind="streams", port=port, token=token, events=plan.stream_events
        ),
    }
    return [_held(name, pid, lambda job=job: do(job)) for name, job in jobs.items()]  # type: ignore[misc]


def idle_mib(pid: int) -> float:
    """Of a process and all that it started; pages that they share are counted once."""
    return sum(memory_of(member).pss for member in family(pid)) / MIB


def _held(name: str, pid: int, act: Callable[[], object]) -> Held:
    with Watch(pid) as seen:
        act()
    moments = (seen.before, seen.most, seen.after)
    rss, pss = [m.rss / MIB for m in moments], [m.pss / MIB for m in moments]
    return Held(name, seen.seconds, rss[0], rss[1], rss[2], pss[0], pss[1], pss[2])

"""The sums of a run, out of its acts: what a report shows and what must be zero."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import Struct

from tests.chaos.nemesis import Ended


class KindFigures(Struct, frozen=True):
    name: str
    faults: int
    failed: int
    recovery_p50_s: float
    """Until all that was acknowledged before the healing had come to every backend."""
    recovery_p99_s: float
    recovery_max_s: float
    served_again_p99_s: float


class Figures(Struct, frozen=True):
    acts: int
    faults: int
    kinds: tuple[KindFigures, ...]
    sent: int
    acked: int
    lost: int
    admitted: int
    bodies_dropped: int
    interrupted: int
    dead: int
    visible_duplicates: int
    phantoms: int
    wrong_payloads: int
    wire_duplicates: int
    ledgers_closed: int
    recovery_p50_s: float
    recovery_p99_s: float
    took_s: float


def figures_of(ended: Sequence[Ended]) -> Figures:
    verdicts = [act.verdict for act in ended if act.verdict]
    backends = [backend for verdict in verdicts for backend in verdict.backends]
    recoveries = [struck.arrived_s for act in ended for struck in act.struck]
    return Figures(
        acts=len(ended),
        faults=sum(len(struck.step.kinds) for act in ended for struck in act.struck),
        kinds=tuple(_by_kind(ended)),
        sent=sum(verdict.sent for verdict in verdicts),
        acked=sum(verdict.acked for verdict in verdicts),
        lost=sum(verdict.lost for verdict in verdicts),
        admitted=sum(verdict.admitted for verdict in verdicts),
        bodies_dropped=sum(verdict.bodies_dropped for verdict in verdicts),
        interrupted=sum(verdict.interrupted for verdict in verdicts),
        dead=sum(backend.dead for backend in backends),
        visible_duplicates=sum(backend.visible_duplicates for backend in backends),
        phantoms=sum(backend.phantoms for backend in backends),
        wrong_payloads=sum(backend.wrong_payloads for backend in backends),
        wire_duplicates=sum(backend.wire_duplicates for backend in backends),
        ledgers_closed=sum(not verdict.problems for verdict in verdicts),
        recovery_p50_s=quantile(recoveries, 0.5),
        recovery_p99_s=quantile(recoveries, 0.99),
        took_s=sum(act.took_s for act in ended),
    )


def _by_kind(ended: Iterable[Ended]) -> list[KindFigures]:
    struck = defaultdict(list)
    for act in ended:
        for fault in act.struck:
            for name in fault.step.kinds:
                struck[name].append(fault)
    return [
        KindFigures(
            name=name,
            faults=len(faults),
            failed=sum(bool(fault.failure) for fault in faults),
            recovery_p50_s=quantile([fault.arrived_s for fault in faults], 0.5),
            recovery_p99_s=quantile([fault.arrived_s for fault in faults], 0.99),
            recovery_max_s=max(fault.arrived_s for fault in faults),
            served_again_p99_s=quantile([fault.served_again_s for fault in faults], 0.99),
        )
        for name, faults in sorted(struck.items())
    ]


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if ordered else 0.0

"""All that a run has found; what the bars, the report and the chart are made from."""

from datetime import datetime

from msgspec import Struct

from tests.bench.cases import Case, Plan
from tests.bench.held import Held
from tests.bench.outcome import Outcome
from tests.bench.stages import Stage


class Figures(Struct, frozen=True, kw_only=True):
    plan: Plan
    began: datetime
    took_s: float
    load_average: float
    """Of the machine before the run."""
    versions: list[str]
    absent: dict[str, str]
    """Contenders that are not here, and why."""
    outcomes: list[Outcome]
    stages: list[Stage]
    held: list[Held]
    idle_worker_mib: float
    idle_whole_mib: float | None
    starts_s: list[float]
    """From the command until /ready."""

    def outcome(self, case: Case) -> Outcome | None:
        return next((outcome for outcome in self.outcomes if outcome.case.name == case.name), None)

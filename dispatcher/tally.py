"""What this process has done for one backend. It outlives the backend's worker, which may crash and begin anew."""

from typing import Literal

from msgspec import Struct, structs

from bus.inspection import BackendState, LotState, State


class Tally(Struct):
    delivered: int = 0
    """Acknowledged: the bus knows it."""
    retried: int = 0
    """Given back to be tried again."""
    buried: int = 0
    opened: int = 0
    """How often the breaker has opened."""
    in_flight: int = 0
    in_flight_bytes: int = 0
    parked: int = 0
    """In the lots that this process holds."""
    lot: LotState = "off"

    def state(
        self, name: str, state: State, failures: int = 0, error: str = "", *, is_open: bool = False
    ) -> BackendState:
        breaker: Literal["open", "closed"] = "open" if is_open else "closed"
        return BackendState(name, state, failures, error, breaker, **structs.asdict(self))

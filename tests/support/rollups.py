"""What the sums of recorded exchanges should be, reckoned from the rows by hand."""

from collections.abc import Sequence
from typing import Final

from sql.repositories.rollups import Totals
from sql.rows import RequestRow

EVER_MS: Final = 9_000_000_000_000
_CLASSES: Final = (
    "input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "output_tokens",
    "reasoning_tokens", "audio_input_tokens", "audio_output_tokens",
)  # fmt: skip


def totals_of(some: Sequence[RequestRow]) -> Totals:
    costs = [row.cost_microusd for row in some if row.cost_microusd is not None]
    failed = [row for row in some if row.status >= 400 or row.status == 0 or row.cut in ("upstream", "interrupted")]
    unpriced = [row for row in some if row.input_tokens is not None and row.cost_microusd is None]
    return Totals(
        requests=len(some),
        errors=len(failed),
        cost_microusd=sum(costs) if costs else None,
        cost_unknown=len(unpriced),
        estimated=len([row for row in some if row.usage_source == "estimate"]),
        **{name: sum(getattr(row, name) or 0 for row in some) for name in _CLASSES},
    )

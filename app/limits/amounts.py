"""How much a call takes of a limit: estimated before it goes on, known when it has ended."""

from typing import Final, Protocol
from urllib.parse import unquote

from msgspec import Struct

from bus.event import ExchangeFinished, Usage
from config.policy import Measure

_BYTES_PER_TOKEN: Final = 4  # of a request's JSON; what it really was is settled afterwards
_FREE: Final = ("/count_tokens", ":countTokens", "/input_tokens", "/moderations")
"""Ends of paths that use no model tokens and tell no usage."""
_MOST_INPUT: Final = 200_000
_MOST_WITH_PICTURES: Final = 16_000


class Pricing(Protocol):
    def estimate_microusd(
        self, provider: str, dialect: str, model: str, input_tokens: int, output_tokens: int, at_ms: int
    ) -> int | None: ...


class Estimate(Struct, frozen=True, gc=False):
    input_tokens: int
    output_tokens: int
    cost_microusd: int
    """0 where no price is known: the smallest amount is taken then."""

    def of(self, measure: Measure) -> int:
        if measure in ("requests", "parallel"):
            return 1
        if measure == "cost":
            return self.cost_microusd
        if measure == "tokens":
            return self.input_tokens + self.output_tokens
        return self.input_tokens if measure == "input_tokens" else self.output_tokens


NOTHING: Final = Estimate(0, 0, 0)


def input_tokens(body: bytes) -> int:
    """Of a call's body in JSON. A picture's base64 is much longer than what it counts for."""
    most = _MOST_WITH_PICTURES if b";base64," in body else _MOST_INPUT
    return min(len(body) // _BYTES_PER_TOKEN, most)


def actual(measure: Measure, event: ExchangeFinished | None, held: int) -> int:
    """What is charged. A call that the upstream did not answer costs nothing; one that was answered with success and
    told no usage, or whose price nobody knows, costs what was held: unknown is never free."""
    if measure == "parallel":
        return 0
    if event is None:
        return held
    if event.upstream_head_us is None:
        return held if event.attempts and event.cut == "client" else 0  # who hangs up early has asked all the same
    if measure == "requests":
        return 1
    known = event.cost_microusd if measure == "cost" else _tokens(measure, event.usage)
    if known is not None:
        return known
    asks_a_model = event.method == "POST" and bool(event.model) and not unquote(event.path).endswith(_FREE)
    return held if asks_a_model and event.status < 400 else 0


def _tokens(measure: Measure, usage: Usage | None) -> int | None:
    if usage is None:
        return None
    if measure == "input_tokens":
        return usage.prompt_tokens
    if measure == "output_tokens":
        return usage.completion_tokens
    return usage.prompt_tokens + usage.completion_tokens

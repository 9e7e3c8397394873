"""LimitRate: holds what a call takes of its limits until the reply has ended, and refuses models that are not allowed.

A policy without limits and rules costs nothing here. What is held is settled by the record's own event, at the same
moment: before the client has its last byte.
"""

from typing import Final

from msgspec.structs import replace

from app.call_rules import CallRules
from app.errors import ModelNotAllowed
from app.exchange import Exchange, Proceed
from app.limits.amounts import NOTHING, Estimate, Pricing, input_tokens
from app.limits.applying import Call, Rules
from app.limits.limits import Limits
from app.model_names import checked_models
from bus.transcript.call import CallFacts

_MAX_BYTES: Final = 32 * 1024 * 1024  # where rules look for names in a body, it is held whole
_NOT_READ: Final = CallFacts()


class LimitRate:
    def __init__(self, limits: Limits, prices: Pricing, *, is_recorded: bool) -> None:
        """`is_recorded`: each exchange ends in an event, which settles what it held."""
        self._limits, self._prices, self._is_recorded = limits, prices, is_recorded
        self._endpoints: dict[str, CallRules] = {}

    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        rules = self._limits.rules
        if not rules.limits_calls and not rules.limits_models:
            await proceed(exchange)
            return
        facts = await _read(exchange, rules)
        call = self._call(exchange, facts)
        if rules.limits_models:
            _check_model(exchange, rules, call)
        exchange.held = held = await self._limits.reserve(
            exchange.event_id, call, self._estimate(exchange, rules, facts), exchange.provider.dialect
        )
        try:
            await proceed(exchange)
        finally:
            if held is not None and not self._is_recorded:
                held.settle(None)

    def _call(self, exchange: Exchange, facts: CallFacts) -> Call:
        return Call(
            project=exchange.project.row.id,
            project_name=exchange.project.row.name,
            token=exchange.token.id,
            end_user=facts.end_user,
            model=facts.model.removeprefix("models/"),
            provider=exchange.provider.name,
            endpoint=self._endpoint(exchange),
        )

    def _endpoint(self, exchange: Exchange) -> str:
        """As it is configured: a client could make up any number of paths below it, each with a limit of its own."""
        rules = self._endpoints.get(exchange.provider.name)
        if rules is None:
            rules = self._endpoints[exchange.provider.name] = CallRules.of(exchange.provider)
        return rules.endpoint_of(exchange.path)

    def _estimate(self, exchange: Exchange, rules: Rules, facts: CallFacts) -> Estimate:
        """What was not read is no call of a model: a form with files in it."""
        if not rules.needs_estimates or exchange.method != "POST" or facts is _NOT_READ:
            return NOTHING
        provider, outputs = exchange.provider, facts.max_output_tokens
        inputs = 0 if exchange.is_form else input_tokens(exchange.body.seen)  # files are no text
        outputs = (rules.policy.assumed_output_tokens if outputs is None else outputs) * facts.choices
        cost = self._prices.estimate_microusd(
            provider.name, provider.dialect, facts.model, inputs, outputs, exchange.accepted_at_ms
        )
        return Estimate(inputs, outputs, cost or 0)


async def _read(exchange: Exchange, rules: Rules) -> CallFacts:
    """What the call says about itself. Forms, which may be long, are held back only where names matter."""
    if not rules.needs_names and (not rules.needs_estimates or exchange.is_form):
        return _NOT_READ
    await exchange.body.read_all(_MAX_BYTES)
    return exchange.call_facts()


def _check_model(exchange: Exchange, rules: Rules, call: Call) -> None:
    """A GET makes no model work. A call that names none must not slip round a rule that names it."""
    if exchange.method in ("GET", "HEAD", "DELETE"):
        return
    for model in (call.model, *checked_models(exchange)):
        if not rules.admits_model(replace(call, model=model)):
            named = f"The model '{model[:100]}' is" if model else "Calls that name no model are"
            raise ModelNotAllowed(f"{named} not allowed for this project; ask its admin.")

"""ValidateCall: what may be called at all, before any token is looked at.

In this order: provider (404), method (405), endpoint (404), then parameters, origin and required headers (400, 403).
Rules come from the provider's entry in providers.yaml and are compiled once.
"""

from app.call_rules import CallRules
from app.errors import (
    EndpointNotFound,
    InvalidRequest,
    MethodNotAllowed,
    NotImplementedYet,
    OriginNotAllowed,
    OriginRequired,
)
from app.exchange import Exchange, Proceed
from app.parameter_rules import check_parameters
from config.providers import Provider


class ValidateCall:
    def __init__(self) -> None:
        self._rules: dict[str, CallRules] = {}

    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        if exchange.refusal is not None:
            raise exchange.refusal
        rules = self._rules_of(exchange.provider)
        _check_method(exchange, rules)
        if not rules.admits_path(exchange.path):
            raise EndpointNotFound(
                f"{exchange.path} is not an endpoint that {exchange.provider.name} is open for here."
            )
        if exchange.header(b"upgrade") is not None:
            raise NotImplementedYet("WebSocket upgrades are not supported yet; use the HTTP endpoints.")
        exchange.body.check_length()
        if rules.parameters:
            await check_parameters(exchange, rules.parameters)
        _check_origin(exchange, rules)
        await proceed(exchange)

    def _rules_of(self, provider: Provider) -> CallRules:
        rules = self._rules.get(provider.name)
        if rules is None:
            rules = self._rules[provider.name] = CallRules.of(provider)
        return rules


def _check_method(exchange: Exchange, rules: CallRules) -> None:
    if exchange.method not in rules.methods:
        allowed = ", ".join(sorted(rules.methods))
        raise MethodNotAllowed(
            f"{exchange.method} is not allowed here; {allowed} are.", headers=((b"allow", allowed.encode()),)
        )


def _check_origin(exchange: Exchange, rules: CallRules) -> None:
    origin = exchange.header(b"origin")
    if origin is None and b"origin" in rules.required_headers:
        raise OriginRequired("This provider is open to browsers only: an Origin header is required.")
    if origin is not None and rules.origins and origin not in rules.origins:
        raise OriginNotAllowed("Calls from this origin are not allowed; add it to allowed_origins.")
    for name in rules.required_headers:
        if exchange.header(name) is None:
            raise InvalidRequest(f"The header {name.decode()} is required.")

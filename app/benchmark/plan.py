"""What a benchmark is to do: whom to ask, what, how often, and at which pace."""

from typing import Literal

from msgspec import Struct

from config.provider import Auth, Connection, Dialect, Provider, Timeouts

Side = Literal["proxy", "direct"]
Headers = tuple[tuple[str, str], ...]


class Target(Struct, frozen=True):
    """One of the two that are asked; `headers` hold its token or its key."""

    side: Side
    base_url: str
    headers: Headers


class Plan(Struct, frozen=True, kw_only=True):
    targets: tuple[Target, ...]
    """The proxy, and perhaps the provider itself: they are asked in turn, so that both see the same minutes."""
    method: str
    endpoint: str
    body: bytes
    concurrency: int
    requests: int | None
    """Measured ones of each target; None: as many as `duration_s` takes."""
    duration_s: float | None
    rate: float | None
    """Calls a second to each target, whether answers come or not (open loop). None: the next one follows the answer
    to the one before (closed loop)."""
    warm_up: int
    """Calls before, to all targets together, that are not measured: connections, caches and pages are made in them."""
    timeout_s: float

    @property
    def dialect(self) -> Dialect:
        """In which usage is told, by the endpoint's name."""
        if self.endpoint.partition("?")[0].endswith("/messages"):
            return "anthropic"
        return "gemini" if "enerateContent" in self.endpoint else "openai"


def provider_of(target: Target, plan: Plan) -> Provider:
    """For the proxy's own client: the same one on both ways."""
    timeout_ms = int(plan.timeout_s * 1000)
    return Provider(
        name=target.side,
        base_url=target.base_url.rstrip("/"),
        dialect=plan.dialect,
        auth=Auth(),
        path_prefix="",
        allowed_endpoints=(),
        allowed_methods=(),
        param_whitelist={},
        allowed_origins=(),
        required_headers=(),
        timeouts=Timeouts(response_header_ms=timeout_ms, idle_ms=timeout_ms),
        connection=Connection(max_connections=plan.concurrency),
    )

"""A provider as it is configured and checked: where it is, what may be called there, how it wants its key.

Read from `providers.yaml` by `config.providers`, which also gives these names away.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from config.prices.override import PriceOverride

Dialect = Literal["openai", "anthropic", "gemini"]


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the provider's own SDK puts its key; the client's token is looked for in the same place."""

    header: str = "authorization"
    """Lower-case header name."""
    scheme: str = "Bearer"
    """Word before the key; empty when the header holds the key alone."""
    query: str = ""
    """Query parameter that may carry the key instead (Gemini's `key`)."""


class Timeouts(
    Struct,
    frozen=True,
    forbid_unknown_fields=True,
    rename={"connect_ms": "connect", "response_header_ms": "response_header", "idle_ms": "idle", "total_ms": "total"},
):
    """Milliseconds; 0 switches one off. In the file they are Go durations: `500ms`, `30s`, `1m30s`."""

    connect_ms: int = 10_000
    response_header_ms: int = 300_000
    """Reasoning models may think for minutes before their head."""
    idle_ms: int = 300_000
    """Between two pieces of a body."""
    total_ms: int = 0
    """Off: a stream of an hour must live."""


class Connection(Struct, frozen=True, forbid_unknown_fields=True):
    max_connections: Annotated[int, Meta(ge=1)] = 1000
    keepalive_ms: Annotated[int, Meta(ge=0)] = 60_000
    ca_file: str = ""
    """PEM file of whom to trust for this provider; empty is the system's list."""
    client_cert_file: str = ""
    """PEM file of the certificate that we show, with its chain."""
    client_key_file: str = ""
    """PEM file of its key, when it is not in there too."""


class Provider(Struct, frozen=True, kw_only=True):
    """A configured way to a provider, checked. `base_url` has no trailing slash; its path is kept."""

    name: str
    base_url: str
    dialect: Dialect
    auth: Auth
    path_prefix: str
    """Put between base_url and the client's path."""
    allowed_endpoints: tuple[str, ...]
    """Prefixes that end at a `/` (`/v1/models` admits `/v1/models/x`, not `/v1/modelsX`) or globs: `/v1/x/*/runs`."""
    allowed_methods: tuple[str, ...]
    param_whitelist: dict[str, tuple[str, ...]]
    """Top-level JSON field to the globs that its value must match one of."""
    allowed_origins: tuple[str, ...]
    required_headers: tuple[str, ...]
    timeouts: Timeouts
    connection: Connection
    end_user_header: str = ""
    """Lower-case name of a header that names the client's own user; it counts before the body's `user`."""
    prices: tuple[PriceOverride, ...] = ()
    """What counts instead of the price list that is shipped."""


class Providers(Struct, frozen=True):
    default: Provider
    by_name: dict[str, Provider]

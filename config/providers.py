"""`providers.yaml`: which upstreams there are, what may be called there and how they want to be authenticated.

The schema is the Go program's `api_providers.yaml` (`default_api`, `apis.<name>`), extended by `auth`, `dialect`,
`path_prefix` and the single timeouts. A broken file stops the start: it never falls back to something more permissive.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml
from msgspec import Meta, Struct

from config.errors import ConfigError

Dialect = Literal["openai", "anthropic", "gemini"]
RESERVED_NAMES = frozenset({"v1", "manage", "health", "live", "ready", "metrics", "admin"})
SHIPPED_FILE = Path(__file__).with_name("providers.yaml")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the provider's own SDK puts its key; the client's token is looked for in the same place."""

    header: str = "authorization"
    """Lower-case header name."""
    scheme: str = "Bearer"
    """Word before the key; empty when the header holds the key alone."""
    query: str = ""
    """Query parameter that may carry the key instead (Gemini's `key`)."""


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True, rename={"connect_ms": "connect", "response_header_ms": "response_header", "idle_ms": "idle", "total_ms": "total"}):
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


class Provider(Struct, frozen=True, kw_only=True):
    """A configured way to a provider, checked. `base_url` has no trailing slash; its path is kept."""

    name: str
    base_url: str
    dialect: Dialect
    auth: Auth
    path_prefix: str
    """Put between base_url and the client's path."""
    allowed_endpoints: tuple[str, ...]
    """Boundary-aware prefixes (`/v1/models` admits `/v1/models/x`, not `/v1/modelsX`) or globs (`/v1/threads/*/runs`)."""
    allowed_methods: tuple[str, ...]
    param_whitelist: dict[str, tuple[str, ...]]
    """Top-level JSON field to the globs that its value must match one of."""
    allowed_origins: tuple[str, ...]
    required_headers: tuple[str, ...]
    timeouts: Timeouts
    connection: Connection


class Providers(Struct, frozen=True):
    default: Provider
    by_name: dict[str, Provider]


class _ApiEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """One `apis.<name>` as written."""

    base_url: str
    allowed_endpoints: Annotated[list[str], Meta(min_length=1)]
    allowed_methods: Annotated[list[str], Meta(min_length=1)]
    dialect: Dialect = "openai"
    auth: Auth = Auth()
    path_prefix: str = ""
    timeouts: Timeouts = Timeouts()
    connection: Connection = Connection()
    param_whitelist: dict[str, list[str]] = {}
    allowed_origins: list[str] = []
    required_headers: list[str] = []


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    default_api: str
    apis: Annotated[dict[str, _ApiEntry], Meta(min_length=1)]


def load_providers(path: Path, default: str = "") -> Providers:
    """Reads and checks the file; `default` overrides its `default_api`. Raises ConfigError with file, line, reason."""
    text = _read(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError([f"{where}: not YAML: {error.problem}"]) from error
    try:
        file = msgspec.convert(_durations_in_ms(raw), _File)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `")
        raise ConfigError([f"{path}:{_line_of(node, at.rstrip('`'))}: {reason}{f' (at {at[:-1]})' if at else ''}"]) from error
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from error
    return _checked(file, path, node, default)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: the providers file cannot be read ({error}); set API_CONFIG_PATH"]) from error


def _checked(file: _File, path: Path, node: yaml.Node | None, default: str) -> Providers:
    mistakes = []
    for name, api in file.apis.items():
        line = _line_of(node, f"$.apis.{name}")
        if name in RESERVED_NAMES or not _NAME.match(name):
            mistakes.append(f"{path}:{line}: provider name {name!r} is reserved or not [a-z0-9_-]")
        if not re.match(r"https?://[^/\s?#@]+(/[^\s?#]*)?\Z", api.base_url):
            line = _line_of(node, f"$.apis.{name}.base_url")
            mistakes.append(f"{path}:{line}: base_url of {name} must be http(s)://host[:port][/path], without user or query")
    wanted = default or file.default_api
    if wanted not in file.apis:
        origin = "DEFAULT_API_PROVIDER" if default else f"{path}:{_line_of(node, '$.default_api')}: default_api"
        mistakes.append(f"{origin} is {wanted!r}; the file has {', '.join(sorted(file.apis))}")
    if mistakes:
        raise ConfigError(mistakes)
    by_name = {name: _provider(name, api) for name, api in file.apis.items()}
    return Providers(default=by_name[wanted], by_name=by_name)


def _provider(name: str, api: _ApiEntry) -> Provider:
    return Provider(
        name=name,
        base_url=api.base_url.rstrip("/"),
        dialect=api.dialect,
        auth=msgspec.structs.replace(api.auth, header=api.auth.header.lower()),
        path_prefix=api.path_prefix.rstrip("/"),
        allowed_endpoints=tuple(api.allowed_endpoints),
        allowed_methods=tuple(m.upper() for m in api.allowed_methods),
        param_whitelist={k: tuple(v) for k, v in api.param_whitelist.items()},
        allowed_origins=tuple(api.allowed_origins),
        required_headers=tuple(h.lower() for h in api.required_headers),
        timeouts=api.timeouts,
        connection=api.connection,
    )


def duration_ms(text: str) -> int:
    """A Go duration (`1m30s`) in milliseconds. Raises ValueError."""
    parts = _DURATION.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError(f"{text!r} is no duration such as 500ms, 30s or 1m30s")
    return int(sum(float(number) * _UNIT_MS[unit] for number, unit in parts))


def _durations_in_ms(raw: Any) -> Any:
    """Duration texts become milliseconds; names that only the Go program had are left out where they had no effect."""
    if not isinstance(raw, dict) or not isinstance(raw.get("apis"), dict):
        return raw
    apis = {}
    for name, api in raw["apis"].items():
        if isinstance(api, dict):
            api = dict(api)
            if isinstance(api.get("timeouts"), dict):
                api["timeouts"] = {
                    k: duration_ms(str(v)) for k, v in api["timeouts"].items() if k not in ("request", "flush_interval", "idle_connection")
                }
            if isinstance(api.get("connection"), dict):
                api["connection"] = {
                    k: v for k, v in api["connection"].items() if k not in ("max_idle_conns", "max_idle_conns_per_host")
                }
        apis[name] = api
    return {**raw, "apis": apis}


def _line_of(node: yaml.Node | None, path: str) -> int:
    """Line of the deepest part of `$.apis.openai.base_url` that the document has."""
    line = 1
    for part in path.removeprefix("$").strip(".").split("."):
        key = part.split("[", 1)[0]
        if not isinstance(node, yaml.MappingNode):
            break
        for key_node, value_node in node.value:
            if key_node.value == key:
                line, node = key_node.start_mark.line + 1, value_node
                break
        else:
            break
    return line

"""`providers.yaml`: which upstreams there are, what may be called there and how they want to be authenticated.

The schema is the Go program's `api_providers.yaml` (`default_api`, `apis.<name>`), extended by `auth`, `dialect`,
`path_prefix` and the single timeouts. A broken file stops the start, with every mistake and its line: it never falls
back to something more permissive.
"""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta, Struct

from config.durations import duration_ms
from config.errors import ConfigError
from config.prices.override import OverrideRow
from config.provider import Auth, Connection, Dialect, Provider, Providers, Timeouts
from config.yaml_lines import Document

__all__ = ["SHIPPED_FILE", "Auth", "Connection", "Dialect", "Provider", "Providers", "Timeouts", "load_providers"]

RESERVED_NAMES: Final = frozenset({"v1", "manage", "health", "live", "ready", "metrics", "admin"})
SHIPPED_FILE: Final = Path(__file__).with_name("providers.yaml")
_T = TypeVar("_T")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_BASE_URL: Final = re.compile(r"https?://[^/\s?#@]+(/[^\s?#]*)?")
_WORD: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 token: a method, a header's name
_PLACE: Final = re.compile(r"\.(\w+)|\[(\d+)\]")
_UNKNOWN: Final = re.compile(r"unknown field `([^`]+)`")
_NO_EFFECT: Final = {
    "timeouts": ("request", "flush_interval"),
    "connection": ("max_idle_conns", "max_idle_conns_per_host"),
}


class _Api(Struct, frozen=True, forbid_unknown_fields=True):
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
    end_user_header: str = ""
    prices: list[OverrideRow] = []


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    default_api: str
    apis: Annotated[dict[str, Any], Meta(min_length=1)]


def load_providers(path: Path, default: str = "") -> Providers:
    """Reads and checks the file; `default` overrides its `default_api`. Raises ConfigError: file, line, reason."""
    document = Document(str(path), _read(path))
    mistakes: list[str] = []
    file = _convert(document, (), document.value, _File, mistakes)
    if file is None:
        raise ConfigError(mistakes)
    read = {name: _api(document, name, raw, mistakes) for name, raw in file.apis.items()}
    wanted = default or file.default_api
    if wanted not in read:
        origin = "DEFAULT_API_PROVIDER" if default else f"{document.where(['default_api'])}: default_api"
        mistakes.append(f"{origin} is {wanted!r}; the file has {', '.join(sorted(read))}")
    by_name = {name: provider for name, provider in read.items() if provider is not None}
    if mistakes:
        raise ConfigError(mistakes)
    return Providers(default=by_name[wanted], by_name=by_name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: the providers file cannot be read ({error}); set API_CONFIG_PATH"]) from error


def _api(document: Document, name: str, raw: Any, mistakes: list[str]) -> Provider | None:
    place = ("apis", name)
    api = _convert(document, place, _in_our_words(document, name, raw, mistakes), _Api, mistakes)
    if name in RESERVED_NAMES or not _NAME.fullmatch(name):
        mistakes.append(f"{document.where(place)}: provider name {name!r} is reserved or not [a-z0-9_-]")
    if api is None:
        return None
    mistakes += [f"{document.where((*place, *keys))}: {reason} (apis.{name})" for keys, reason in _wrong_in(api)]
    return _provider(name, api)


def _convert(document: Document, place: tuple[str, ...], raw: Any, kind: type[_T], mistakes: list[str]) -> _T | None:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        reason, _, at = str(error).partition(" - at `$")
        keys = [name or int(index) for name, index in _PLACE.findall(at)]
        unknown = _UNKNOWN.findall(reason)
        shown = ".".join(place) + at.rstrip("`")
        mistakes.append(f"{document.where((*place, *keys, *unknown))}: {reason}{f' (at {shown})' if shown else ''}")
        return None


def _in_our_words(document: Document, name: str, raw: Any, mistakes: list[str]) -> Any:
    """Durations in milliseconds, and without the names of the Go program that had no effect there."""
    if not isinstance(raw, dict):
        return raw
    raw = {**raw, **{part: _without(raw[part], names) for part, names in _NO_EFFECT.items() if part in raw}}
    timeouts = raw.get("timeouts")
    if isinstance(timeouts, dict):
        raw["timeouts"] = {}
        for key, text in timeouts.items():
            try:
                raw["timeouts"][key] = duration_ms(str(text))
            except ValueError as error:
                mistakes.append(f"{document.where(('apis', name, 'timeouts', str(key)))}: {error}")
        _keep_alive(raw)
    return raw


def _without(part: Any, names: tuple[str, ...]) -> Any:
    return {k: v for k, v in part.items() if k not in names} if isinstance(part, dict) else part


def _keep_alive(raw: dict[str, Any]) -> None:
    """The Go program's `timeouts.idle_connection` is our `connection.keepalive_ms`."""
    idle = raw["timeouts"].pop("idle_connection", None)
    connection = raw.setdefault("connection", {})
    if idle is not None and isinstance(connection, dict):
        raw["connection"] = {"keepalive_ms": idle, **connection}


def _wrong_in(api: _Api) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What the types let through: the place within the entry, and the reason."""
    if not _BASE_URL.fullmatch(api.base_url):
        yield ("base_url",), "base_url must be http(s)://host[:port][/path], without user or query"
    if api.path_prefix and not api.path_prefix.startswith("/"):
        yield ("path_prefix",), "path_prefix must begin with /"
    for index, endpoint in enumerate(api.allowed_endpoints):
        if not endpoint.startswith("/"):
            yield ("allowed_endpoints", index), f"endpoint {endpoint!r} must begin with /"
    for index, method in enumerate(api.allowed_methods):
        if not _WORD.fullmatch(method):
            yield ("allowed_methods", index), f"{method!r} is no method"
    for index, header in enumerate(api.required_headers):
        if not _WORD.fullmatch(header):
            yield ("required_headers", index), f"{header!r} is no header's name"
    if api.end_user_header and not _WORD.fullmatch(api.end_user_header):
        yield ("end_user_header",), f"{api.end_user_header!r} is no header's name"
    for index, row in enumerate(api.prices):
        if mistake := row.mistake():
            yield ("prices", index), f"the price of {row.model!r} {mistake}"
    yield from _wrong_in_files(api.connection)
    if not _WORD.fullmatch(api.auth.header):
        yield ("auth", "header"), f"{api.auth.header!r} is no header's name"


def _wrong_in_files(files: Connection) -> Iterator[tuple[tuple[str, str], str]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if files.ca_file:
            context.load_verify_locations(files.ca_file)
    except OSError as error:  # ssl.SSLError is one, too
        yield ("connection", "ca_file"), f"no certificates in {files.ca_file} ({error.strerror or error})"
    if files.client_key_file and not files.client_cert_file:
        yield ("connection", "client_key_file"), "client_key_file needs a client_cert_file"
    try:
        if files.client_cert_file:
            context.load_cert_chain(files.client_cert_file, files.client_key_file or None, password=_no_password)
    except OSError as error:
        reason = f"no certificate with its key in {files.client_cert_file} ({error.strerror or error})"
        yield ("connection", "client_cert_file"), reason


def _no_password() -> str:
    """OpenSSL would ask at the terminal for that of an encrypted key."""
    return ""


def _provider(name: str, api: _Api) -> Provider:
    return Provider(
        name=name,
        base_url=api.base_url.rstrip("/"),
        dialect=api.dialect,
        auth=msgspec.structs.replace(api.auth, header=api.auth.header.lower()),
        path_prefix=api.path_prefix.rstrip("/"),
        allowed_endpoints=tuple(api.allowed_endpoints),
        allowed_methods=tuple(method.upper() for method in api.allowed_methods),
        param_whitelist={field: tuple(globs) for field, globs in api.param_whitelist.items()},
        allowed_origins=tuple(api.allowed_origins),
        required_headers=tuple(header.lower() for header in api.required_headers),
        timeouts=api.timeouts,
        connection=api.connection,
        end_user_header=api.end_user_header.lower(),
        prices=tuple(row.of(name) for row in api.prices),
    )

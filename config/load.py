"""Environment and `.env` into Settings. The only file that reads `os.environ`.

The environment wins over `.env`. All mistakes are collected and raised at once as ConfigError. An unknown name is
a mistake in `.env` and, when it begins with LLM_PROXY_, in the environment too: a typo must not be silently ignored.
"""

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from config.errors import ConfigError
from config.secret import Secret
from config.settings import FOREIGN, RETIRED, Settings, Variable, variables

ENV_FILE = ".env"
_PREFIX = "LLM_PROXY_"


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Settings of this process. `env_file=None` means `./.env` if it is there. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    path = env_file if env_file is not None else Path(environ.get("ENV", ENV_FILE))
    mistakes: list[str] = []
    from_file = _read_env_file(path, mistakes, required=env_file is not None)
    known = {v.env: v for v in variables()}
    mistakes += [_unknown(n, f"{path}", known) for n in from_file if n not in known.keys() | RETIRED | FOREIGN]
    mistakes += [
        _unknown(n, "the environment", known)
        for n in environ
        if n.startswith(_PREFIX) and n not in known.keys() | RETIRED | FOREIGN
    ]
    values = _convert({**from_file, **environ}, known, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return Settings(**values)


def raw_environment(names: frozenset[str], env_file: Path | None = None) -> dict[str, str]:
    """Variables that are no settings of the server (a provider's key for `setup`, the token for `chat`)."""
    from_file = _read_env_file(env_file or Path(os.environ.get("ENV", ENV_FILE)), [], required=False)
    merged = {**from_file, **os.environ}
    return {name: merged[name] for name in names if merged.get(name)}


def child_environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """This process's environment for a child, with `overrides` laid over it."""
    return {**os.environ, **overrides}


def as_environment(settings: Settings) -> dict[str, str]:
    """Settings as environment variables, secrets included: how the supervisor hands them to its children."""
    out = {}
    for variable in variables():
        value = getattr(settings, variable.field)
        if value is None:
            continue
        if isinstance(value, Secret):
            out[variable.env] = value.reveal()
        elif isinstance(value, bool):
            out[variable.env] = str(value).lower()
        elif isinstance(value, tuple):
            out[variable.env] = ",".join(value)
        else:
            out[variable.env] = str(value)
    return out


def _read_env_file(path: Path, mistakes: list[str], *, required: bool) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if required:
            mistakes.append(f"{path}: no such file; leave it out or run `llm-proxy setup`")
        return {}
    except (OSError, UnicodeDecodeError) as error:
        mistakes.append(f"{path}: cannot be read ({error})")
        return {}
    values = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, equals, value = stripped.removeprefix("export ").partition("=")
        if not equals or not name.strip().isidentifier():
            mistakes.append(f"{path}:{number}: expected NAME=value")
            continue
        values[name.strip()] = _unquote(value.strip())
    return values


def _unquote(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value.split(" #", 1)[0].rstrip()


def _unknown(name: str, where: str, known: Mapping[str, Variable]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else "see .env.example for the settings there are"
    return f"{name}: unknown setting in {where}; {hint}"


def _convert(raw: Mapping[str, str], known: Mapping[str, Variable], mistakes: list[str]) -> dict[str, Any]:
    types = {f.name: f.type for f in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    for env, variable in known.items():
        text = raw.get(env, "")
        if text == "":  # an empty variable is an unset one: compose files and CI write them so
            continue
        try:
            values[variable.field] = _value(text, types[variable.field], is_secret=variable.is_secret)
        except (msgspec.ValidationError, ValueError) as error:
            shown = "the value" if variable.is_secret else repr(text)
            mistakes.append(f"{env}: {shown} cannot be used ({error}); {variable.description}")
    return values


def _value(text: str, kind: Any, *, is_secret: bool) -> Any:
    if is_secret:
        return Secret(text)
    if "tuple" in str(kind):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    lowered = text.strip().lower()
    if "bool" in str(kind) and lowered in ("yes", "on", "no", "off"):
        text = "true" if lowered in ("yes", "on") else "false"
    return msgspec.convert(text.strip(), kind, strict=False)

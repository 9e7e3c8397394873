"""Environment and `.env` into Settings. The only file that reads `os.environ`.

The environment wins over `.env`. All mistakes are collected and raised at once as ConfigError. An unknown name is
a mistake in `.env` and, when it begins with LLM_PROXY_, in the environment too: a typo must not be silently ignored.
"""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin

import msgspec

from config.checks import mistakes_in
from config.env_file import read_env_file
from config.errors import ConfigError
from config.retired import is_known_elsewhere
from config.secret import Secret
from config.settings import Settings
from config.variables import Variable, variables

ENV_FILE: Final = ".env"
_PREFIX: Final = "LLM_PROXY_"
_TRUE: Final = frozenset({"1", "t", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "f", "false", "no", "off"})


def load_settings(environ: Mapping[str, str] | None = None, env_file: Path | None = None) -> Settings:
    """Settings of this process. `env_file=None` means `./.env` if it is there. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    path = env_file if env_file is not None else Path(environ.get("ENV") or ENV_FILE)
    mistakes: list[str] = []
    from_file = read_env_file(path, mistakes, required=env_file is not None)
    mistakes += _unknown(from_file, str(path))
    mistakes += _unknown((name for name in environ if name.startswith(_PREFIX)), "the environment")
    settings = Settings(**_convert({**from_file, **_set(environ)}, mistakes))
    mistakes += mistakes_in(settings)
    if mistakes:
        raise ConfigError(mistakes)
    return settings


def raw_environment(names: frozenset[str], env_file: Path | None = None) -> dict[str, str]:
    """Variables that are no settings of the server (a provider's key for `setup`, the token for `chat`)."""
    from_file = read_env_file(env_file or Path(os.environ.get("ENV") or ENV_FILE), [], required=False)
    merged = {**from_file, **_set(os.environ)}
    return {name: merged[name] for name in names if merged.get(name)}


def child_environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """This process's environment for a child, with `overrides` laid over it."""
    return {**os.environ, **overrides}


def as_environment(settings: Settings) -> dict[str, str]:
    """Settings as environment variables, secrets included: how the supervisor hands them to its children."""
    values = ((variable.env, getattr(settings, variable.field)) for variable in variables())
    return {name: _as_text(value) for name, value in values if value is not None}


def _as_text(value: object) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value) or ","  # an empty variable would be an unset one
    return str(value)


def _set(environ: Mapping[str, str]) -> dict[str, str]:
    """An empty variable is an unset one: compose files and CI write them so."""
    return {name: value for name, value in environ.items() if value}


def _unknown(names: Iterable[str], where: str) -> list[str]:
    known = [variable.env for variable in variables()]
    unknown = [name for name in names if name not in known and not is_known_elsewhere(name)]
    return [f"{name}: unknown setting in {where}; {_hint(name, known)}" for name in unknown]


def _hint(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else "see .env.example for the settings there are"


def _convert(raw: Mapping[str, str], mistakes: list[str]) -> dict[str, Any]:
    types = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    for variable in variables():
        text = raw.get(variable.env, "")
        if text == "":
            continue
        try:
            values[variable.field] = _value(text, types[variable.field], variable)
        except ValueError as error:  # msgspec's own is one
            mistakes.append(f"{variable.env}: {text!r} cannot be used ({error}); {variable.description}")
    return values


def _value(text: str, kind: Any, variable: Variable) -> Any:
    if variable.is_secret:
        return Secret(text)
    bare = get_args(kind)[0]  # every field is Annotated
    if get_origin(bare) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if bare is bool:
        return _truth(text.strip().lower())
    return msgspec.convert(text.strip(), kind, strict=False)


def _truth(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError("expected true or false")
    return text in _TRUE

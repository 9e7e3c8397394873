"""`llm-proxy server --demo`, before the supervisor: everything below ./.run, with secrets, ports, projects and tokens.

What the environment or a `.env` sets is respected; the demo only fills in what is missing.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from msgspec import structs

from app.cli import checks, demo_projects, demo_state, output, secret_file
from app.cli.demo_state import DemoState
from app.cli.failures import Failure
from app.cli.options import settings_with
from app.cli.schema import prepare as prepare_schema
from app.demo import providers_file
from app.demo.provider import API_KEY
from app.ports import any_free, next_free
from config.addresses import Address, parse
from config.clock import SystemClock
from config.ids import new_token
from config.load import raw_environment
from config.settings import Settings
from config.variables import variables
from sql.errors import SealBroken
from sql.sealing import new_key
from sql.stores import open_stores

_DEFAULTS = {
    "DATA_DIR": ".run",
    "LISTEN_ADDR": "127.0.0.1:8080",
    "ADMIN_UI_LISTEN_ADDR": "127.0.0.1:8081",
    "LOG_FORMAT": "console",
    "LOG_LEVEL": "warning",
    "LLM_PROXY_LOG_REQUESTS": "false",
    "LLM_PROXY_DRAIN_S": "10",
}
_REAL_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_LOOPBACK = "127.0.0.1"
_HEAD = ("Secrets of the demo, made at its first start. Remove the whole folder to begin anew.",)


def prepare_demo(
    flags: Mapping[str, object | None], env_file: Path | None, *, with_traffic: bool
) -> tuple[Settings, list[str]]:
    """The settings to serve with, and the parts to start beside the usual ones. Raises ConfigError, Failure."""
    given = {name: str(value) for name, value in flags.items() if value is not None}
    chosen = raw_environment(frozenset(variable.env for variable in variables()), env_file)
    values: dict[str, object] = {**{n: v for n, v in _DEFAULTS.items() if n not in chosen}, **given}
    folder = checks.data_folder(settings_with(values, env_file))
    values |= _secrets(folder / "demo.env", chosen)
    settings = _with_free_ports(settings_with(values, env_file))
    keys = {p: key for p, name in _REAL_KEYS.items() if (key := raw_environment(frozenset({name})).get(name))}
    simulated = () if settings.api_config_path else tuple(p for p in _REAL_KEYS if p not in keys)
    port = any_free(_LOOPBACK).port
    if simulated:
        path = folder / "providers.yaml"
        providers_file.write(path, simulated, f"http://{_LOOPBACK}:{port}")
        settings = structs.replace(settings, api_config_path=str(path))
    checks.configuration(settings)
    default = checks.providers(settings).default.name
    asyncio.run(_make(settings, folder, {**keys, **dict.fromkeys(simulated, API_KEY)}, simulated, port, default))
    return settings, ["demo", "traffic"] if with_traffic and simulated else ["demo"]


def _secrets(path: Path, chosen: Mapping[str, str]) -> dict[str, str]:
    """What is set elsewhere wins; the rest is made once and kept."""
    kept = raw_environment(frozenset({"MANAGEMENT_TOKEN", "ENCRYPTION_KEY"}), path) if path.exists() else {}
    made = {
        "MANAGEMENT_TOKEN": kept.get("MANAGEMENT_TOKEN") or new_token().removeprefix("sk-"),
        "ENCRYPTION_KEY": kept.get("ENCRYPTION_KEY") or new_key(),
    }
    mine = {name: value for name, value in made.items() if name not in chosen}
    if mine and not path.exists():
        secret_file.write(path, mine, head=_HEAD)
    return mine


def _with_free_ports(settings: Settings) -> Settings:
    proxy = _free(parse(settings.listen_addr, "LISTEN_ADDR"))
    wanted = parse(settings.admin_ui_listen_addr, "ADMIN_UI_LISTEN_ADDR")
    admin = _free(Address(wanted.host, wanted.port + 1) if wanted.port == proxy.port else wanted)
    return structs.replace(settings, listen_addr=str(proxy), admin_ui_listen_addr=str(admin))


def _free(wanted: Address) -> Address:
    if not wanted.port:
        return any_free(wanted.host)
    found = next_free(wanted)
    if found != wanted:
        output.say(f"port {wanted.port} is taken, using {found.port}")
    return found


async def _make(
    settings: Settings, folder: Path, keys: Mapping[str, str], simulated: tuple[str, ...], port: int, default: str
) -> None:
    await prepare_schema(settings)
    stores = open_stores(settings)
    try:
        made = await demo_projects.make(stores, SystemClock(), keys, demo_state.load(folder))
    except SealBroken as error:
        raise Failure(f"{error}; remove {folder.absolute()} to begin anew") from error
    finally:
        await stores.close()
    state = DemoState(
        simulated=simulated, provider_port=port, token=made.newcomer, tokens=made.traffic, default_provider=default
    )
    demo_state.save(folder, state)

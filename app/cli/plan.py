"""Which children a server has, how each is started and in which order they stop."""

import os
import sys
from collections.abc import Sequence

from app.supervisor import ChildSpec
from config.addresses import parse
from config.checks import has_redis, is_bus_shared
from config.load import as_environment, child_environment, raw_environment
from config.retired import FOREIGN
from config.settings import Settings

# Parts of the drain budget after which each kind is killed, in the order of stopping. The proxy has the most: a reply
# may stream on. The keeper comes last, so that what the proxy wrote at its end is still moved and delivered.
PROXY_SHARE = 0.75
_LIMITS_SHARE = 0.78
_ADMIN_SHARE = 0.8
_DEMO_SHARE = 0.85
_DISPATCHER_SHARE = 0.95
_KEEPER_SHARE = 1.0


def self_command(*arguments: str) -> list[str]:
    """This program again. -P keeps the current folder, which may hold another `app`, off the import path."""
    return [sys.executable, "-P", "-m", "app.cli.main", *arguments]


def environment_for_children(settings: Settings) -> dict[str, str]:
    """The settings as they are now; a `.env` is not read a second time."""
    return child_environment({**raw_environment(FOREIGN), **as_environment(settings), "ENV": os.devnull})


def children(settings: Settings, parts: Sequence[str]) -> list[ChildSpec]:
    """`parts` of admin, keeper, dispatcher, schema, demo, traffic; the proxy is always there."""
    me = str(os.getpid())
    specs = []
    if "keeper" in parts:  # first: it adopts what an earlier run has left while the others start
        options = [] if "dispatcher" in parts and not is_bus_shared(settings) else ["--no-dispatcher"]
        specs.append(_spec("keeper", _KEEPER_SHARE, self_command("_keeper", me, *options)))
    if not has_redis(settings):
        specs.append(_spec("limits", _LIMITS_SHARE, self_command("_limits", me)))
    if "dispatcher" in parts and is_bus_shared(settings):
        specs.append(_spec("dispatcher", _DISPATCHER_SHARE, self_command("_dispatcher", me)))
    proxy = parse(settings.listen_addr, "LISTEN_ADDR")
    specs.append(_spec("proxy", PROXY_SHARE, self_command("_proxy", me), listens=proxy))
    if "admin" in parts:
        address = parse(settings.admin_ui_listen_addr, "ADMIN_UI_LISTEN_ADDR")
        specs.append(_spec("admin", _ADMIN_SHARE, self_command("_admin", me), listens=address))
    if settings.metrics_addr and settings.enable_metrics:
        address = parse(settings.metrics_addr, "METRICS_ADDR")
        specs.append(_spec("metrics", _ADMIN_SHARE, self_command("_metrics", me), listens=address))
    if "demo" in parts:
        options = [*(["--traffic"] if "traffic" in parts else []), *([] if "admin" in parts else ["--no-admin"])]
        specs.append(_spec("demo", _DEMO_SHARE, self_command("_demo", me, *options)))
    if "schema" in parts:
        specs.append(_spec("schema", _ADMIN_SHARE, self_command("_schema", me), once=True))
    return specs


def _spec(name: str, share: float, argv: Sequence[str], **more: object) -> ChildSpec:
    return ChildSpec(name=name, stop_share=share, argv=tuple(argv), **more)  # type: ignore[arg-type]

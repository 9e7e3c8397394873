"""The admin, served by Granian in this very process: the supervisor's child, and `llm-proxy admin`."""

import asyncio

from admin.main import build_app, make_parts
from app.cli.in_process import serve_app
from config.addresses import parse
from config.clock import SystemClock
from config.load import raw_environment
from config.settings import Settings


def serve(settings: Settings) -> int:
    """Until SIGTERM."""
    public_url = raw_environment(frozenset({"PROXY_URL"})).get("PROXY_URL", "")
    parts = make_parts(settings, SystemClock(), public_url)
    address = parse(settings.admin_ui_listen_addr, "ADMIN_UI_LISTEN_ADDR")
    return asyncio.run(serve_app(build_app(parts), address))

"""Backends: per backend where all recorded events are, how it is doing, and what the relay has on its way."""

from starlette.responses import Response

from admin.asking import ask_relay, ask_standing, what_to_do
from admin.pages.backend_views import backend_views, open_ledger, relay_facts, summary
from admin.visit import Visit
from bus.errors import BusUnavailable
from bus.standing import Standing
from config.checks import is_bus_shared

EVERY_S = 5


async def show(visit: Visit) -> Response:
    """Always there: when the bus does not answer, that is what it says."""
    settings = visit.parts.settings
    stand: Standing | None = None
    away = ""
    try:
        stand = await ask_standing(settings)
    except BusUnavailable as error:
        away = str(error)
    views = backend_views(stand) if stand else []
    return visit.show(
        "backends/page.html",
        "backends/_state.html",
        stand=stand,
        away=away,
        what_to_do=what_to_do(settings),
        backends=views,
        relay=relay_facts(stand.stats.relay if stand else await ask_relay(settings)),
        open_ledger=open_ledger(stand.ledger) if stand else "",
        summary=summary(stand, views) if stand else None,
        is_shared=is_bus_shared(settings),
        is_paused=visit.query.get("updates") == "off",
        every_s=EVERY_S,
        now_ms=visit.parts.clock.now_ms(),
    )

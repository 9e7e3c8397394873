"""Help, and the two things a browser may choose: colours and shortcuts."""

from urllib.parse import urlsplit

from starlette.responses import Response

from admin.forms import Filled, Form
from admin.preferences import THEMES, Preferences, Theme, keep_preferences
from admin.visit import Visit


class PreferencesForm(Form, frozen=True, kw_only=True):
    theme: Theme = "system"
    has_shortcuts: bool = False


async def show_help(visit: Visit) -> Response:
    return visit.show("help.html", themes=THEMES)


async def save(visit: Visit) -> Response:
    filled = Filled(PreferencesForm, visit.form)
    chosen = filled.form if not filled.errors else PreferencesForm()
    response = visit.done("/admin/help", "preferences_saved")
    kept = Preferences(theme=chosen.theme, has_shortcuts=chosen.has_shortcuts)
    keep_preferences(response, kept, is_https=visit.is_https)
    return response


async def save_theme(visit: Visit) -> Response:
    """The switch in the frame: back to the page it was pressed on."""
    filled = Filled(PreferencesForm, visit.form)
    theme = filled.form.theme if not filled.errors else "system"
    response = visit.done(_here(visit))
    kept = Preferences(theme=theme, has_shortcuts=visit.preferences.has_shortcuts)
    keep_preferences(response, kept, is_https=visit.is_https)
    return response


def _here(visit: Visit) -> str:
    page = urlsplit(visit.request.headers.get("referer", ""))
    if page.netloc != visit.request.headers.get("host") or not page.path.startswith("/admin/"):
        return "/admin/"
    return page.path + (f"?{page.query}" if page.query else "")

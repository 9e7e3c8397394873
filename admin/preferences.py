"""What a browser remembers of its user's taste: colours and single-key shortcuts. Cookies, read on every page."""

from typing import Final, Literal, get_args

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

Theme = Literal["system", "light", "dark"]
THEMES: Final[tuple[Theme, ...]] = get_args(Theme)
_THEME_COOKIE: Final = "llmproxy_theme"
_SHORTCUTS_COOKIE: Final = "llmproxy_shortcuts"
_YEAR_S: Final = 365 * 24 * 3600


class Preferences(Struct, frozen=True):
    theme: Theme = "system"
    has_shortcuts: bool = True


def read_preferences(request: Request) -> Preferences:
    wanted = request.cookies.get(_THEME_COOKIE, "")
    theme: Theme = next((t for t in THEMES if t == wanted), "system")
    return Preferences(theme=theme, has_shortcuts=request.cookies.get(_SHORTCUTS_COOKIE) != "off")


def keep_preferences(response: Response, chosen: Preferences, *, is_https: bool) -> None:
    for name, value in (
        (_THEME_COOKIE, chosen.theme),
        (_SHORTCUTS_COOKIE, "on" if chosen.has_shortcuts else "off"),
    ):
        response.set_cookie(name, value, max_age=_YEAR_S, httponly=True, secure=is_https, samesite="lax")

"""The one sentence after a change: a toast under htmx, else a line on the next page.

Across a redirect only the notice's name travels, in a cookie of a minute: nobody else can put words there.
"""

from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

COOKIE: Final = "llmproxy_notice"


class Notice(Struct, frozen=True):
    level: str
    text: str


NOTICES: Final = {
    "signed_out": Notice("success", "You are signed out."),
    "project_created": Notice("success", "Project created. Next: a token for it."),
    "project_saved": Notice("success", "Project saved."),
    "project_activated": Notice("success", "Project activated: its active tokens work again."),
    "project_deactivated": Notice("success", "Project deactivated: its calls are refused from now on."),
    "key_added": Notice("success", "API key added."),
    "key_removed": Notice("success", "API key removed."),
    "token_saved": Notice("success", "Token saved."),
    "token_revoked": Notice("success", "Token revoked: it stops within a second."),
    "token_reactivated": Notice("success", "Token active again, with the count it had."),
    "tokens_revoked": Notice("success", "All tokens of this project are revoked."),
    "preferences_saved": Notice("success", "Preferences saved in this browser."),
}


def carry(response: Response, name: str, *, is_https: bool) -> None:
    response.set_cookie(COOKIE, name, max_age=60, httponly=True, secure=is_https, samesite="lax")


def carried(request: Request) -> Notice | None:
    return NOTICES.get(request.cookies.get(COOKIE, ""))


def drop(response: Response) -> None:
    response.delete_cookie(COOKIE)

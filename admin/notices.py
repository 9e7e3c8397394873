"""The one sentence after a change: a toast under htmx, else a line on the next page.

Across a redirect only the notice's name and a number travel, in a cookie of a minute: nobody else can put words there.
"""

import re
from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from admin.wording import plural

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
    "token_ended": Notice("error", "Nothing was done: the token has ended. Make a new one instead."),
    "tokens_revoked": Notice("success", "All tokens of this project are revoked."),
    "letters_replayed": Notice("success", "Replayed: {events} back on the way to the backend."),
    "letters_purged": Notice("success", "Purged: {letters} gone for good."),
    "letters_gone": Notice("error", "Nothing was done: none of these dead letters is there any more."),
    "no_letters_chosen": Notice("error", "Nothing was done: select dead letters first."),
    "bus_away": Notice("error", "The event bus did not answer. What was not done yet can be done again."),
    "preferences_saved": Notice("success", "Preferences saved in this browser."),
}


def carry(response: Response, name: str, *, number: int, is_https: bool) -> None:
    response.set_cookie(COOKIE, f"{name}.{number}", max_age=60, httponly=True, secure=is_https, samesite="lax")


def carried(request: Request) -> Notice | None:
    name, _, digits = request.cookies.get(COOKIE, "").partition(".")
    notice, number = NOTICES.get(name), int(digits) if re.fullmatch("[0-9]{1,9}", digits) else 0
    if notice is None:
        return None
    said = notice.text.format(events=plural(number, "event"), letters=plural(number, "dead letter"))
    return Notice(notice.level, said)


def drop(response: Response) -> None:
    response.delete_cookie(COOKIE)

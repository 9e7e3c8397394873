"""What a page may answer instead of itself.

Refusal
 +- NotSignedIn      to the sign-in page, and back afterwards
 +- ForgedForm       403: not sent by a form of ours, or by one of an older session
 +- PageNotFound     404
 +- FormUnreadable   400, 413 or 415: no form that a browser sends
"""

from msgspec import Struct


class Refusal(Exception):
    """Base: ends the visit with an error page."""


class NotSignedIn(Refusal):
    pass


class ForgedForm(Refusal):
    pass


class PageNotFound(Refusal):
    pass


class FormUnreadable(Refusal):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Mishap(Struct, frozen=True):
    """An error as it is shown."""

    status: int
    title: str
    text: str


MISHAPS = {
    400: Mishap(400, "This form could not be read", "Go back, reload the page and send it again."),
    403: Mishap(
        403,
        "This form is out of date",
        "You signed in again since it was opened. Go back, reload the page and send it again.",
    ),
    404: Mishap(404, "There is no such page", "It may have been deleted, or the address has a typing mistake."),
    405: Mishap(405, "That cannot be done here", "This address does not take that kind of request."),
    413: Mishap(413, "This form is too large", "Shorten what you entered and send it again."),
    415: Mishap(415, "This form could not be read", "Send it from the page itself."),
    500: Mishap(500, "Something went wrong", "The log has the details under the request id below."),
    503: Mishap(
        503,
        "The database cannot be reached",
        "The proxy goes on with what it remembers. This page tries the database anew each time you reload it.",
    ),
}
SCHEMA_MISMATCH = Mishap(503, "The database needs a migration", "Run `llm-proxy migrate up`, then reload this page.")
STORE_FULL = Mishap(503, "The database cannot be written", "The disk is full or read-only. Make room, then try again.")

"""One request of a browser: who asks, what was sent, and the few ways to answer.

`show` gives a page, or its fragment alone when htmx asked for that; `done` sends the browser on after a change;
`show_change` answers a change in place. Pages use nothing of HTTP beyond these.
"""

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from admin import csrf, htmx, notices
from admin.acts.actor import Actor
from admin.errors import ForgedForm, NotSignedIn, PageNotFound
from admin.forms import read_body
from admin.parts import Parts
from admin.preferences import Preferences, read_preferences
from admin.sessions import find_session, read_cookie
from config.client_address import client_address, parse_address
from sql.rows import SessionRow

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


class Visit:
    __slots__ = ("form", "parts", "request", "session")

    def __init__(self, parts: Parts, request: Request) -> None:
        self.parts = parts
        self.request = request
        self.session: SessionRow | None = None
        self.form: dict[str, str] = {}

    async def enter(self, *, needs_session: bool) -> None:
        """Raises NotSignedIn, ForgedForm, FormUnreadable, StoreUnavailable."""
        is_change = self.request.method in _UNSAFE
        if is_change and not csrf.is_from_our_page(self.request.headers):
            raise ForgedForm
        await self.look_up_session()
        if needs_session and self.session is None:
            raise NotSignedIn
        if is_change:
            self.form = await read_body(self.request)
            given = self.form.pop(csrf.FIELD, "")
            # The sign-in has no session to belong to; where the form came from has been looked at above.
            if needs_session and self.session and not csrf.is_token_right(self.session.csrf, given):
                raise ForgedForm

    async def look_up_session(self) -> None:
        cookie = read_cookie(self.request, self.is_https)
        self.session = await find_session(self.parts.stores, self.parts.clock, cookie)

    @property
    def request_id(self) -> str:
        return str(self.request.state.request_id)

    @property
    def is_partial(self) -> bool:
        return htmx.is_partial(self.request)

    @property
    def is_confirmed(self) -> bool:
        return self.form.get("confirmed") == "1"

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter that is not empty."""
        params = self.request.query_params.items()
        return {name: value for name, value in params if value and value.isprintable()}

    def path_id(self, name: str) -> str:
        """Raises PageNotFound for what cannot be an id of ours, so that no database is asked."""
        value = str(self.request.path_params[name])
        if not _ID.fullmatch(value):
            raise PageNotFound
        return value

    @property
    def preferences(self) -> Preferences:
        return read_preferences(self.request)

    @property
    def is_https(self) -> bool:
        if self.request.url.scheme == "https":
            return True
        return self._is_behind_proxy and self.request.headers.get("x-forwarded-proto", "") == "https"

    @property
    def browser_url(self) -> str:
        """Scheme and host as the browser has them."""
        return f"{'https' if self.is_https else 'http'}://{self.request.headers.get('host', '')}"

    @property
    def client_ip(self) -> str:
        forwarded = self.request.headers.getlist("x-forwarded-for")
        return client_address(self._peer, forwarded, self.parts.trusted)

    @property
    def _peer(self) -> str:
        return self.request.client.host if self.request.client else ""

    @property
    def _is_behind_proxy(self) -> bool:
        peer = parse_address(self._peer)
        return peer is not None and any(peer in network for network in self.parts.trusted)

    def actor(self) -> Actor:
        """Who the audit log says it was."""
        return Actor(
            name=self.session.actor if self.session else "anonymous",
            client_ip=self.client_ip,
            user_agent=self.request.headers.get("user-agent", "")[:500],
            request_id=self.request_id,
            method=self.request.method,
            path=self.request.url.path,
        )

    def show(self, page: str, fragment: str | None = None, *, status: int = 200, **context: Any) -> Response:
        """The page, or the fragment alone when htmx asked for a part."""
        if fragment and self.is_partial:
            return HTMLResponse(self._render(fragment, context, None), status)
        notice = notices.carried(self.request)
        response = HTMLResponse(self._render(page, context, notice), status)
        if notice:
            notices.drop(response)
        return response

    def show_list(self, page: str, fragment: str, address: str, **context: Any) -> Response:
        """A list; when a filter form asked, the browser's address is made to say what was chosen."""
        response = self.show(page, fragment, **context)
        if self.is_partial and htmx.is_from_form(self.request):
            htmx.show_address(response, address)
        return response

    def confirm(self, *, question: str, consequence: str, button: str, back: str) -> Response:
        """Asks on a page of its own; the same address is posted to again, confirmed. Under htmx a dialog did."""
        return self.show("confirm.html", question=question, consequence=consequence, button=button, back=back)

    def show_change(self, fragment: str, notice: str, **context: Any) -> Response:
        """A change seen in place (htmx only), with a toast."""
        response = HTMLResponse(self._render(fragment, context, None))
        htmx.toast(response, notices.NOTICES[notice].level, notices.NOTICES[notice].text)
        return response

    def done(self, url: str, notice: str | None = None, number: int = 0) -> Response:
        """On to another page; the notice is shown there, with its number."""
        is_htmx = "hx-request" in self.request.headers
        response = htmx.redirect(url) if is_htmx else RedirectResponse(url, status_code=303)
        if notice:
            notices.carry(response, notice, number=number, is_https=self.is_https)
        return response

    def asks_for(self, tag: str) -> bool:
        """Whether htmx will put the answer into an element of this kind."""
        return self.request.headers.get("hx-target", "").partition("#")[0] == tag

    def _render(self, name: str, context: dict[str, Any], notice: notices.Notice | None) -> str:
        frame = {
            "csrf": self.session.csrf if self.session else "",
            "is_signed_in": self.session is not None,
            "path": self.request.url.path,
            "preferences": self.preferences,
            "request_id": self.request_id,
            "notice": notice,
        }
        return self.parts.templates.render(name, {"frame": frame, **context})

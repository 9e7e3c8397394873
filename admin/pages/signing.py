"""Sign in with the management token, sign out. The token is compared in constant time and never kept."""

from starlette.responses import Response

from admin.acts.sign_ins import record_sign_in, record_sign_out
from admin.forms import Filled, Form
from admin.sessions import close_session, drop_cookie, open_session, set_cookie
from admin.visit import Visit
from config.client_address import limiting_key

HOME = "/admin/"
_ACTOR = "management_token"
_NOBODY_CAN = "MANAGEMENT_TOKEN is not set, so nobody can sign in. Run `llm-proxy setup`, then start again."
_WRONG = "This is not the management token."


class SignIn(Form, frozen=True, kw_only=True):
    token: str = ""
    next: str = HOME


async def ask(visit: Visit) -> Response:
    """The form; whoever is signed in already goes straight on."""
    wanted = _local(visit.query.get("next", HOME))
    if visit.session:
        return visit.done(wanted)
    return _form(visit, wanted)


async def sign_in(visit: Visit) -> Response:
    form = Filled(SignIn, visit.form, secret=("token",)).form
    wanted = _local(form.next)
    address = limiting_key(visit.client_ip)
    wait_s = visit.parts.sign_ins.wait_s(address)
    if wait_s:
        return _too_many(visit, wanted, wait_s)
    token = visit.parts.settings.management_token
    if token is None or not token.matches(form.token):
        visit.parts.sign_ins.take(address)
        await visit.parts.refused_sign_ins.record(visit.parts.stores, visit.actor(), "admin.login")
        return _form(visit, wanted, error=_NOBODY_CAN if token is None else _WRONG, status=422)
    return await _let_in(visit, wanted)


async def sign_out(visit: Visit) -> Response:
    if visit.session:
        await close_session(visit.parts.stores, visit.session)
        await record_sign_out(visit.parts.stores, visit.parts.clock, visit.actor())
    response = visit.done("/admin/sign-in", "signed_out")
    drop_cookie(response, visit.is_https)
    return response


async def _let_in(visit: Visit, wanted: str) -> Response:
    """Always a new session: one that was there before the sign-in is not taken over."""
    parts = visit.parts
    if visit.session:
        await close_session(parts.stores, visit.session)
    visit.session, cookie = await open_session(
        parts.stores,
        parts.clock,
        actor=_ACTOR,
        user_agent=visit.request.headers.get("user-agent", ""),
        client_ip=visit.client_ip,
    )
    await record_sign_in(parts.stores, parts.clock, visit.actor())
    response = visit.done(wanted)
    set_cookie(response, cookie, visit.is_https)
    return response


def _form(visit: Visit, wanted: str, *, error: str = "", status: int = 200) -> Response:
    return visit.show("sign_in.html", status=status, next=wanted, error=error)


def _too_many(visit: Visit, wanted: str, wait_s: int) -> Response:
    error = f"Too many wrong tokens from your address. Try again in {wait_s} seconds."
    response = _form(visit, wanted, error=error, status=429)
    response.headers["Retry-After"] = str(wait_s)
    return response


def _local(wanted: str) -> str:
    """Only a page of the admin: never another host, whatever the link said."""
    is_ours = wanted.startswith("/admin/") and not any(c in wanted for c in "\\\r\n\t") and "//" not in wanted
    return wanted if is_ours else HOME

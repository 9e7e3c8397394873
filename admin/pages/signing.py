"""Sign in with the management token, sign out. The token is compared in constant time and never kept."""

from starlette.responses import Response

from admin.acts.refusals import WRONG_CREDENTIAL
from admin.acts.sign_ins import record_sign_in, record_sign_out
from admin.forms import Filled, Form
from admin.sessions import close_session, drop_cookie, open_session, set_cookie
from admin.visit import Visit
from config.client_address import limiting_key

HOME = "/admin/"
_ACTOR = "management_token"
_ACTOR_BEFORE = "management_token_previous"
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
        await _refused(visit, "the address has to wait")
        return _too_many(visit, wanted, wait_s)
    actor = _who(visit, form.token)
    if actor is None:
        visit.parts.sign_ins.take(address)
        await _refused(visit, WRONG_CREDENTIAL)
        is_closed = visit.parts.settings.management_token is None
        return _form(visit, wanted, error=_NOBODY_CAN if is_closed else _WRONG, status=422)
    return await _let_in(visit, wanted, actor)


async def sign_out(visit: Visit) -> Response:
    if visit.session:
        await close_session(visit.parts.stores, visit.session)
        await record_sign_out(visit.parts.stores, visit.parts.clock, visit.actor())
    response = visit.done("/admin/sign-in", "signed_out")
    drop_cookie(response, visit.is_https)
    return response


def _who(visit: Visit, shown: str) -> str | None:
    """None when it is neither MANAGEMENT_TOKEN nor the one of before."""
    settings = visit.parts.settings
    if settings.management_token and settings.management_token.matches(shown):
        return _ACTOR
    previous = settings.management_token_previous
    return _ACTOR_BEFORE if previous and previous.matches(shown) else None


async def _refused(visit: Visit, why: str) -> None:
    await visit.parts.refusals.record(visit.parts.stores, visit.actor(), "admin.login", why)


async def _let_in(visit: Visit, wanted: str, actor: str) -> Response:
    """Always a new session: one that was there before the sign-in is not taken over."""
    parts = visit.parts
    if visit.session:
        await close_session(parts.stores, visit.session)
    visit.session, cookie = await open_session(
        parts.stores,
        parts.clock,
        actor=actor,
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

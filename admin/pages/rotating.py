"""A token gets another secret: the page shows it once, and until when the old one works."""

from typing import Final

from starlette.responses import Response

from admin.acts.errors import TokenEnded
from admin.acts.tokens import rotate_token
from admin.forms import Filled, Form
from admin.lists import read_choice
from admin.pages.tokens import LIST, token_of, view_of
from admin.visit import Visit

_HOUR_MS: Final = 3_600_000
_DEFAULT: Final = "1d"
_GRACES: Final = {"0": 0, "1h": _HOUR_MS, "1d": 24 * _HOUR_MS, "7d": 168 * _HOUR_MS}


class RotateForm(Form, frozen=True, kw_only=True):
    grace: str = _DEFAULT


async def rotate(visit: Visit) -> Response:
    """Answers with the new secret itself: it is on no other page, so there is no redirect to one."""
    row = await token_of(visit)
    grace_ms = read_choice(Filled(RotateForm, visit.form).form.grace, _GRACES, _GRACES[_DEFAULT])
    try:
        row, token = await rotate_token(visit.parts.stores, visit.parts.clock, visit.actor(), row.id, grace_ms=grace_ms)
    except TokenEnded:
        return visit.done(f"{LIST}/{row.id}", "token_ended")
    return visit.show("tokens/rotated.html", row=await view_of(visit, row), token=token)

"""Forms: urlencoded bodies into Structs, with one message per field that is wrong.

A form is a Struct whose `SAY` names the sentence for each field that people can get wrong. What only the database or an
act knows (a name that is taken) joins the same `errors` later.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
from starlette.requests import Request

from admin.acts.errors import Conflict, Invalid
from admin.errors import FormUnreadable

MAX_BYTES = 64 * 1024  # the longest field, a provider's key, has a few hundred
_MEDIA_TYPE = "application/x-www-form-urlencoded"


class Form(Struct, frozen=True, kw_only=True):
    SAY: ClassVar[Mapping[str, str]] = {}


F = TypeVar("F", bound=Form)


class Filled(Generic[F]):
    """A form as it came: `values` to show again, `errors` by field, and the Struct when all fields can be read."""

    def __init__(self, kind: type[F], values: Mapping[str, str], secret: tuple[str, ...] = ()) -> None:
        given = {name: value.replace("\x00", "").strip() for name, value in values.items()}
        self.values = {name: "" if name in secret else value for name, value in given.items()}
        self.errors: dict[str, str] = {}
        self._form = self._read(kind, given)

    @property
    def form(self) -> F:
        """Only when there are no errors."""
        assert self._form is not None, "a form with errors was used"  # noqa: S101
        return self._form

    def refuse(self, error: Invalid | Conflict) -> None:
        """What an act said against a value; without a field it concerns the form as a whole."""
        self.errors[error.field] = _sentence(error.message)

    def _read(self, kind: type[F], given: Mapping[str, str]) -> F | None:
        fields: dict[str, Any] = {}
        for field in msgspec.structs.fields(kind):
            text = given.get(field.name, "")
            if text == "" and not field.required:
                continue
            try:
                fields[field.name] = msgspec.convert(text, field.type, strict=False)
            except msgspec.ValidationError:
                self.errors[field.name] = kind.SAY.get(field.name, "This cannot be used here.")
        return None if self.errors else kind(**fields)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


async def read_body(request: Request) -> dict[str, str]:
    """The first value of each field. Raises FormUnreadable."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _MEDIA_TYPE:
        raise FormUnreadable(415)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise FormUnreadable(413)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError as error:
        raise FormUnreadable(400) from error
    return dict(reversed(pairs))

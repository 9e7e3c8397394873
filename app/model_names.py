"""Which models a call asks for, read so that no other reading of the same bytes finds another one.

Only where a rule says which models are allowed. What two parsers may read differently is refused: an encoded body, a
field that stands there twice (in whatever case, escaped or not), and JSON that is not UTF-8 or not JSON.
"""

import itertools
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from app.errors import InvalidRequest
from app.exchange import Exchange
from app.json_fields import fields_of, stands_twice

_MOST_BYTES: Final = 1024 * 1024  # of a body whose fields are looked at one by one: that holds the loop, 0.2 s at most
_FORM_FIELD: Final = re.compile(rb"[;\s]name\*?\s*=\s*\"?(?:utf-8'[^']*')?models?\b", re.IGNORECASE)
_KEY: Final = re.compile(
    rb"\"" + b"".join(rb"(?:%c|\\u00%02x|\\u00%02x)" % (c, c, c - 32) for c in b"model") + rb"(s|\\u00[57]3)?\"",
    re.IGNORECASE,
)
"""`model` or `models` as a JSON text, its letters escaped or not."""


def checked_models(exchange: Exchange) -> Iterable[str]:
    """Models that stand beside the one that the call names (OpenRouter's `models`). Raises InvalidRequest."""
    headers = [(name, value.strip().lower()) for name, value in exchange.headers]
    if any(name == b"content-encoding" and value != b"identity" for name, value in headers):
        raise InvalidRequest("The model is checked here: send the body without Content-Encoding.")
    if sum(name == b"content-type" for name, _ in headers) > 1:
        raise InvalidRequest("The model is checked here: send one Content-Type.")
    body = exchange.body.seen
    if exchange.is_form:
        if len(_FORM_FIELD.findall(body)) > 1:
            raise stands_twice("model")
        return ()
    return _beside(body) if body else ()


def _beside(body: bytes) -> Iterable[str]:
    _check_is_json(body)
    keys = list(itertools.islice(_KEY.finditer(body), 2))
    if len(keys) < 2 and not any(key.group(1) for key in keys):
        return ()
    if len(body) > _MOST_BYTES:
        raise InvalidRequest("The model is checked here, and stands more than once in a body of more than 1 MiB.")
    fields = fields_of(body)
    fields.named("model", in_any_case=True)
    listed: list[Any] = fields.named("models", in_any_case=True)
    if listed and not (isinstance(listed[0], list) and all(isinstance(model, str) for model in listed[0])):
        raise InvalidRequest("The models are checked here: send them as a list of names.")
    return listed[0] if listed else ()


def _check_is_json(body: bytes) -> None:
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest("The model is checked here: send a JSON object in UTF-8.") from error

"""`param_whitelist`: top-level fields of a JSON body must match one of their patterns.

The body is parsed only where the provider has a rule. Then nothing may slip round it: a body that cannot be read as
one JSON object is refused, and a field that stands there twice is too, because two parsers may choose differently.
"""

import json
import re
from typing import Any, Final

from app.errors import InvalidRequest, ParamNotAllowed
from app.exchange import Exchange
from app.json_fields import fields_of

_MAX_BYTES: Final = 8 * 1024 * 1024  # parsing holds the loop: about 60 ms at this size
_NO_JSON: Final = re.compile(rb"multipart/|audio/|image/|video/|application/octet-stream", re.IGNORECASE)

Parameters = dict[str, tuple[tuple[str, re.Pattern[str]], ...]]


async def check_parameters(exchange: Exchange, parameters: Parameters) -> None:
    """Raises ParamNotAllowed, InvalidRequest, BodyTooLarge; leaves the body to be sent on as it came."""
    if exchange.method in ("GET", "HEAD", "DELETE") or not _is_json(exchange):
        return
    if exchange.header(b"content-encoding") not in (None, b"identity"):
        raise InvalidRequest("This provider's parameters are checked here: send the body without Content-Encoding.")
    body = await exchange.body.read_all(_MAX_BYTES)
    if not body:
        return
    fields = fields_of(body)
    for name, patterns in parameters.items():
        for value in fields.named(name):
            _check(name, value, patterns)


def _is_json(exchange: Exchange) -> bool:
    """Unless it says that it is something that nobody reads as JSON."""
    given = [value for name, value in exchange.headers if name == b"content-type"]
    if len(given) > 1:
        raise InvalidRequest("Send one Content-Type.")
    return not given or _NO_JSON.match(given[0].strip()) is None


def _check(name: str, value: Any, patterns: tuple[tuple[str, re.Pattern[str]], ...]) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    if not any(compiled.fullmatch(text) for _, compiled in patterns):
        allowed = " ".join(written for written, _ in patterns)
        raise ParamNotAllowed(f"Parameter '{name}' value '{text[:100]}' is not allowed. Allowed patterns: [{allowed}]")

"""One dead letter as it is shown: its event's fields in the event's own words, its bodies as text."""

import base64
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from admin.acts.actor import masked
from admin.bodies import BodyView, body_view
from admin.wording import moment
from bus.dead_letters import Letter, OpenedLetter, readable_event
from sql.rows import BodyRow

_BODIES: Final[dict[str, str]] = {"request_body": "request", "response_body": "response"}
_YEAR_10000_MS: Final = 253_402_300_800_000
_RECORDED: Final = "full"
"""The one choice of a project with which bodies are recorded."""


class EventView(Struct, frozen=True, kw_only=True):
    fields: list[tuple[str, str]]
    bodies: list[BodyView]
    has_bodies: bool
    """Whether there are any to be asked for."""


def letter_view(letter: Letter) -> Letter:
    """Without what looks like a secret in what a backend said."""
    return replace(letter, detail=masked(letter.detail))


def event_view(opened: OpenedLetter, *, with_bodies: bool) -> EventView:
    event = readable_event(opened.payload, with_bodies=with_bodies)
    told = {name: event.pop(name) for name in _BODIES if name in event}
    bodies = told if event.get("recording") == _RECORDED else {}
    return EventView(
        fields=[(name, _text(name, value)) for name, value in event.items() if name != "t"],
        bodies=[_body(opened, _BODIES[name], body) for name, body in bodies.items()] if with_bodies else [],
        has_bodies=bool(bodies),
    )


def _text(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {number}" for key, number in value.items())
    if name.endswith("_at_ms") and 0 <= value < _YEAR_10000_MS:
        return moment(value).text
    return masked(str(value))


def _body(opened: OpenedLetter, side: str, body: dict[str, Any]) -> BodyView:
    data = body["text"].encode() if "text" in body else base64.b64decode(body["base64"])
    return body_view(
        BodyRow(
            event_id=opened.letter.event_id,
            side=side,
            data=data,
            content_type=body["content_type"],
            content_encoding=body["content_encoding"],
            truncated=body["truncated"],
        )
    )

"""Exchange: one call and its reply, from accept to last byte. The one thing that changes on a request's way.

Its slots are declared without a value: a processor that reads what an earlier one should have set fails at once,
instead of working on a None. What the record needs is gathered in `facts`, whose parts are optional because refused
calls have neither token nor project.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from app.errors import Refusal
from app.limits.held import Held
from app.reply import Reply
from app.request_body import RequestBody
from bus.event import Cut, Recording
from bus.transcript.call import CallFacts, read_call
from bus.transcript.found import name_of
from bus.transcript.multipart import is_form
from config.providers import Provider
from sql.rows import ApiKeyRow, ProjectRow, TokenRow

Scope = dict[str, Any]
Headers = list[tuple[bytes, bytes]]


class Project(Struct, frozen=True):
    """A project and its API keys, as workers remember them."""

    row: ProjectRow
    keys: tuple[ApiKeyRow, ...]


class Facts(Struct, gc=False):
    """What has become known of an exchange so far; `Record` makes the event of it. Times are monotonic nanoseconds."""

    code: str = ""
    cut: Cut = ""
    project_id: str = ""
    token_id: str = ""
    recording: Recording = "off"
    """Until a project has said otherwise, nothing of a body is recorded."""
    attempts: int = 0
    record_ns: int = 0
    """Time spent on the record of this exchange."""
    waited_ns: int = 0
    """Time spent waiting for others (the client's body, the upstream's head): not our overhead."""
    upstream_head_ns: int | None = None
    reply_head_ns: int | None = None
    can_tell_in_stream: bool = False
    """The reply is an event stream in clear and stands between two events: an error can be told as the next."""
    first_byte_ns: int | None = None
    may_ask_for_usage: bool = False
    has_asked_for_usage: bool = False
    """The call that was sent on asks for usage, and the client's did not."""


class Exchange:
    __slots__ = (
        "_call_facts",
        "accepted_at_ms",
        "accepted_ns",
        "body",
        "client_ip",
        "entered_ns",
        "event_id",
        "facts",
        "first",
        "headers",
        "held",
        "method",
        "path",
        "project",
        "provider",
        "query",
        "refusal",
        "reply",
        "request_id",
        "sent_path",
        "token",
        "traceparent",
    )

    _call_facts: CallFacts | None
    accepted_at_ms: int
    accepted_ns: int
    body: RequestBody
    client_ip: str
    entered_ns: int
    """When the processor that is at work was entered, in an exchange that is timed."""
    event_id: str
    facts: Facts
    headers: Headers
    """The client's, lower-case names, in their order."""
    first: dict[bytes, bytes]
    """The first value of each: a dozen are looked for on the way."""
    held: Held | None
    """What it takes of its limits, until it is settled."""
    method: str
    sent_path: str
    """As the client sent it, percent-encoding and all."""
    path: str
    """What the provider sees: the leading `/{provider}` is gone."""
    query: bytes
    provider: Provider
    """The default provider where the path names none that we know: it lends its dialect to the error."""
    refusal: Refusal | None
    """What is wrong already at accept; raised by ValidateCall, so that it is recorded and rendered like the rest."""
    reply: Reply
    request_id: str
    traceparent: str
    token: TokenRow
    project: Project

    def call_facts(self) -> CallFacts:
        """What the call says about itself, read once: from all of the body that has been seen by then."""
        if self._call_facts is None:
            content_type = (self.header(b"content-type") or b"").decode("latin-1")
            facts = read_call(self.provider.dialect, self.path, content_type, self.body.seen)
            named = self.provider.end_user_header and self.header(self.provider.end_user_header.encode())
            self._call_facts = replace(facts, end_user=name_of(named.decode("latin-1"))) if named else facts
        return self._call_facts

    @property
    def is_form(self) -> bool:
        """A body in parts, with files in it."""
        return is_form((self.header(b"content-type") or b"").decode("latin-1"))

    def let_go(self) -> None:
        """Of the client, at the end: a reply that refers to its exchange would keep it until the collector comes."""
        self.body.let_go()
        del self.reply

    def header(self, name: bytes) -> bytes | None:
        """First value of a header; `name` in lower case."""
        return self.first.get(name)


Proceed = Callable[[Exchange], Awaitable[None]]

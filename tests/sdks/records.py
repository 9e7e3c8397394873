"""What the proxy has recorded since a test began: one event per exchange, found without a word from the client."""

from bus.event import ExchangeFinished, Usage
from tests.support.proxy import Proxy
from tests.support.waiting import eventually


class Records:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._known = {e.event_id for e in proxy.events()}

    def fresh(self) -> list[ExchangeFinished]:
        return [e for e in self._proxy.events() if e.event_id not in self._known]

    def the_one(self) -> ExchangeFinished:
        """The only new event. What ended early is recorded a moment after the client has turned away."""
        eventually(lambda: len(self.fresh()) >= 1)
        (event,) = self.fresh()
        return event

    def tell(
        self, *, model: str = "", usage: Usage | None = None, response_id: str = "", streamed: bool = False
    ) -> None:
        """The one event of a call that went well says this of it."""
        event = self.the_one()
        assert (event.status, event.code, event.cut, event.attempts) == (200, "", "", 1)
        assert (event.model, event.response_id, event.streamed) == (model, response_id, streamed)
        assert event.usage == usage

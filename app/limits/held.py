"""What an exchange knows of its limits: what goes into the reply's head, and that its end must be told."""

from typing import Protocol

from bus.event import ExchangeFinished


class Held(Protocol):
    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """For the reply."""
        ...

    def settle(self, event: ExchangeFinished | None) -> None:
        """To what the exchange really used; without an event, to what is held."""
        ...

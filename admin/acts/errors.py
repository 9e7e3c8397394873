"""Why an act was not done. Nothing has been changed when one of these is raised.

ActError
 +- NotFound          there is no such project, API key or token
 +- Invalid           a value breaks a rule; `field` names it as the API does
 +- InvalidDocument   several things in it break rules; `faults` names each place
 +- Conflict          another one has this value
 +- ProjectInactive   the project is switched off, so it gets no new tokens
 +- TokenEnded        it was revoked or has expired, so it gets no new secret
 +- NotUndoable       the key was not rotated, or its grace is over
"""

from collections.abc import Mapping


class ActError(Exception):
    """Base of all errors of the acts; the text may be shown to the caller."""


class NotFound(ActError):
    def __init__(self, kind: str) -> None:
        super().__init__(f"{kind} not found")
        self.kind = kind


class Invalid(ActError):
    """`field` is "" when the fault lies in the whole."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}" if field else message)
        self.field = field
        self.message = message


class InvalidDocument(ActError):
    def __init__(self, faults: Mapping[str, str]) -> None:
        """By place, as in `limits[0].most`; "" is the whole."""
        super().__init__("; ".join(f"{place}: {fault}" if place else fault for place, fault in faults.items()))
        self.faults = dict(faults)


class Conflict(ActError):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


class ProjectInactive(ActError):
    def __init__(self) -> None:
        super().__init__("cannot create tokens for inactive projects")


class TokenEnded(ActError):
    def __init__(self) -> None:
        super().__init__("the token was revoked or has expired; make a new one instead")


class NotUndoable(ActError):
    def __init__(self) -> None:
        super().__init__("this key has replaced no other, or the other one is gone already")

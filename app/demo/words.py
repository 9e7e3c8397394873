"""What the demo provider says: a few sentences, chosen by the question, so that the same one gets the same answer."""

import random
import re
import zlib
from typing import Any

_OPENINGS = (
    "Happy to help.",
    "Good question.",
    "Here is the short version.",
    "Let us look at it step by step.",
    "That depends, but mostly it is simple.",
)
_SENTENCES = (
    "The order was packed this morning and leaves the warehouse before noon.",
    "You can change the delivery address until the parcel has been handed over.",
    "The report covers the last thirty days and can be exported as CSV.",
    "A refund reaches the original payment method within five working days.",
    "The index is rebuilt every night, so new documents appear on the next day.",
    "Two of the three checks passed; the third one needs a person to look at it.",
    "Please restart the device once and keep the power button pressed for ten seconds.",
    "The contract renews itself unless it is cancelled a month before its end.",
    "In short: cache what is read often, and measure before changing anything else.",
    "The summary lists the decisions first, then who does what until when.",
)


def answer(question: str) -> str:
    """One opening and two to five sentences; what was asked is named in the first."""
    rng = random.Random(zlib.crc32(question.encode()))
    about = " ".join(question.split())[:80] or "nothing"
    return " ".join([rng.choice(_OPENINGS), f'You asked: "{about}".', *rng.sample(_SENTENCES, rng.randint(2, 5))])


def pieces(text: str) -> list[str]:
    """As a model streams it: a word or two at a time, nothing lost."""
    return re.findall(r"\S+\s*(?:\S{1,3}\s+)?", text)


def count(value: object) -> int:
    """Roughly as many model tokens as a provider would count."""
    return max(1, len(_text(value)) // 4)


def last_question(messages: Any) -> str:
    """The text of the last message, whichever of the usual shapes it has."""
    if isinstance(messages, list) and messages:
        last = messages[-1]
        return _text(last.get("content", "") if isinstance(last, dict) else last)
    return _text(messages)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(_text(part) for part in value)
    if isinstance(value, dict):
        return _text(value.get("text") or value.get("content") or "")
    return ""

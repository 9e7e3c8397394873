"""What a reader of a dialect has found so far, and the bounds of the texts in it."""

from typing import Any, Final

_MAX_TEXT: Final = 256  # characters of a model's name or an id; what is longer is no name


def name_of(value: object) -> str:
    """A name or id for a record: printable (PostgreSQL takes no NUL), bounded, empty when it is no text."""
    if not isinstance(value, str):
        return ""
    text = value[:_MAX_TEXT]
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())


class Found:
    """Grows while a reply passes. `counts` is the provider's own usage object, later fields over earlier ones."""

    __slots__ = ("counts", "is_complete", "model", "response_id", "service_tier")

    def __init__(self) -> None:
        self.counts: dict[str, Any] = {}
        self.model = ""
        self.response_id = ""
        self.is_complete = False
        self.service_tier: object = None
        """As told beside the counts: at what prices the call was served."""

    def name(self, model: object, response_id: object) -> None:
        self.model = name_of(model) or self.model
        self.response_id = name_of(response_id) or self.response_id

    def replace_counts(self, counts: object) -> None:
        """Counts that are told as a whole each time: the last word is the valid one."""
        if isinstance(counts, dict):
            self.counts = counts

    def add_counts(self, counts: object) -> None:
        """Counts that come in instalments: what is not repeated stays."""
        if isinstance(counts, dict):
            self.counts.update((k, v) for k, v in counts.items() if v is not None)

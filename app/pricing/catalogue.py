"""Which model of a seller a name means: exactly that name first, then the clauses of the price list, in its order."""

import re
from collections.abc import Iterator
from typing import Final

from config.prices.snapshot import Clause, Model, Seller, Snapshot

_COMPACT_DATE: Final = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")


def matches(clause: Clause, text: str) -> bool:
    """`text` in lower case."""
    if isinstance(clause, str):
        return bool(text == clause.lower())
    if isinstance(clause, list):
        return any(matches(part, text) for part in clause)
    ((kind, value),) = clause.items()
    if kind == "all":
        return all(matches(part, text) for part in value)
    if kind == "regex":
        return re.search(value, text) is not None
    if kind == "starts":
        return text.startswith(value.lower())
    if kind == "ends":
        return text.endswith(value.lower())
    return value.lower() in text


class Catalogue:
    """The models of one seller."""

    def __init__(self, models: list[Model]) -> None:
        self._models = models
        self._by_name: dict[str, Model] = {}
        for model in models:
            for name in _names(model.match):
                self._by_name.setdefault(name, model)

    def find(self, name: str) -> Model | None:
        """`name` in lower case. Some write dates without hyphens: tried when the name as it is means nothing."""
        found = self._find(name)
        if found is None:
            plain = _COMPACT_DATE.sub(r"-\1-\2-\3", name)
            return self._find(plain) if plain != name else None
        return found

    def _find(self, name: str) -> Model | None:
        exact = self._by_name.get(name)
        return exact or next((model for model in self._models if matches(model.match, name)), None)


def _names(clause: Clause) -> Iterator[str]:
    if isinstance(clause, str):
        yield clause.lower()
    elif isinstance(clause, list):
        for part in clause:
            yield from _names(part)


def seller_of(snapshot: Snapshot, name: str, base_url: str, dialect: str) -> str | None:
    """Who sells what this provider gives: told by its address, its name, or a wire form that is one maker's own.

    OpenAI's form tells nothing, since everybody speaks it: a server of one's own must not be priced as OpenAI.
    """
    known = snapshot.providers
    by_url = (key for key, seller in known.items() if base_url and re.match(seller.urls, base_url))
    by_name = (key for key, seller in known.items() if name == key or _is_named(seller, name))
    by_dialect = {"anthropic": "anthropic", "gemini": "google"}.get(dialect)
    return next(by_url, None) or (name if name in known else next(by_name, by_dialect))


def _is_named(seller: Seller, name: str) -> bool:
    return seller.names is not None and matches(seller.names, name)

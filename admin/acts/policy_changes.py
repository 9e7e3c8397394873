"""What differs between two policy documents, limit by limit: for who is about to change one, and for the audit log."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from admin.acts.actor import Difference, masked

Document = Mapping[str, Any]


class PolicyChanges(Struct, frozen=True, kw_only=True):
    """Names of limits, and of the document's other fields."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    fields: list[str]


def changes_between(old: Document, new: Document) -> PolicyChanges:
    before, after = _limits(old), _limits(new)
    return PolicyChanges(
        added=[name for name in after if name not in before],
        changed=[name for name in after if name in before and before[name] != after[name]],
        removed=[name for name in before if name not in after],
        fields=_changed_fields(old, new),
    )


def told(old: Document, new: Document) -> Difference:
    """Flat, as the audit log shows it: a new or removed limit whole, of a changed one the fields that changed.

    What looks like a token is masked: somebody may have written one where its id belongs.
    """
    before, after = _limits(old), _limits(new)
    changes = changes_between(old, new)
    was: dict[str, Any] = {f"limit {name!r}": before[name] for name in changes.removed}
    becomes: dict[str, Any] = {f"limit {name!r}": after[name] for name in changes.added}
    for name in changes.changed:
        for field in {**before[name], **after[name]}:
            if before[name].get(field) != after[name].get(field):
                was[f"limit {name!r} {field}"] = before[name].get(field)
                becomes[f"limit {name!r} {field}"] = after[name].get(field)
    for field in changes.fields:
        was[field], becomes[field] = old.get(field), new.get(field)
    if "models" in changes.fields:  # rules have no names and no order: those that are in one document only
        rules, others = old.get("models", []), new.get("models", [])
        was["models"] = [rule for rule in rules if rule not in others]
        becomes["models"] = [rule for rule in others if rule not in rules]
    return Difference(before=_flat(was), after=_flat(becomes))


def _limits(document: Document) -> dict[str, dict[str, Any]]:
    return {limit["name"]: limit for limit in document.get("limits", [])}


def _changed_fields(old: Document, new: Document) -> list[str]:
    return [name for name in {**old, **new} if name != "limits" and old.get(name) != new.get(name)]


def _flat(fields: Mapping[str, Any]) -> dict[str, object]:
    return {masked(name): _scalar(value) for name, value in fields.items()}


def _scalar(value: object) -> object:
    """Lists and objects as their JSON."""
    if value is None or isinstance(value, int | float):
        return value
    return masked(value if isinstance(value, str) else msgspec.json.encode(value).decode())

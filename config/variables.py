"""The list of settings, as `.env.example`, the README and `doctor` show it."""

import msgspec
from msgspec import Meta, Struct

from config.secret import Secret
from config.settings import Settings


class Variable(Struct, frozen=True):
    """One row of the list."""

    field: str
    env: str
    default: str
    description: str
    group: str
    is_secret: bool


def variables() -> list[Variable]:
    """All settings in the order of their declaration."""
    rows, group = [], ""
    for field in msgspec.structs.fields(Settings):
        meta, is_secret = _meta(field.type)
        extra = meta.extra or {}
        group = extra["group"] or group
        rows.append(
            Variable(
                field=field.name,
                env=extra["env"] or field.name.upper(),
                default=_as_text(field.default),
                description=meta.description or "",
                group=group,
                is_secret=is_secret,
            )
        )
    return rows


def _meta(annotation: object) -> tuple[Meta, bool]:
    metas = [m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, Meta)]
    is_secret = Secret in getattr(getattr(annotation, "__origin__", None), "__args__", ())
    return metas[0], is_secret


def _as_text(default: object) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return str(default)

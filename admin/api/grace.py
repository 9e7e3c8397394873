"""How long an old secret works beside the new one, as callers write it."""

from typing import Annotated

from msgspec import Meta, Struct

from admin.acts.errors import Invalid
from config.durations import duration_ms

Grace = Annotated[
    str,
    Meta(
        pattern=r"^(0|[0-9]{1,5}s|(10080|100[0-7][0-9]|[0-9]{1,4})m|(16[0-8]|1[0-5][0-9]|[0-9]{1,2})h)$",
        description="Such as 90s, 30m or 24h, a week at most; 0 ends it at once.",
    ),
]


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    grace: Grace = "24h"


def grace_ms(text: str) -> int:
    """Raises Invalid."""
    try:
        return duration_ms(text)
    except ValueError as error:
        raise Invalid("grace", str(error)) from error

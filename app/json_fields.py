"""A JSON object with its fields as they stand, for checks that nothing may slip round."""

import json
from typing import Any

from app.errors import InvalidRequest


class Fields(list[tuple[str, Any]]):
    """Name and value, those of inner objects too; a name that stands there twice is here twice."""

    def named(self, name: str, *, in_any_case: bool = False) -> list[Any]:
        """Its value, or none. Raises InvalidRequest where two parsers may choose differently."""
        values = [value for key, value in self if (key.lower() if in_any_case else key) == name]
        if len(values) > 1:
            raise stands_twice(name)
        return values


def fields_of(body: bytes) -> Fields:
    """Raises InvalidRequest for what is no JSON object."""
    try:
        fields = json.loads(body, object_pairs_hook=Fields)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not valid JSON; it is checked here before it is sent on.") from error
    if not isinstance(fields, Fields):
        raise InvalidRequest("The body must be a JSON object.")
    return fields


def stands_twice(name: str) -> InvalidRequest:
    return InvalidRequest(f"Parameter '{name}' stands in the body more than once.")

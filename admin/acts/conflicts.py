"""Translates the database's word for a taken value into the acts' own."""

from collections.abc import Iterator
from contextlib import contextmanager

from admin.acts.errors import Conflict
from sql import errors as sql_errors


@contextmanager
def conflicts_as(field: str, message: str) -> Iterator[None]:
    """Around a whole transaction: PostgreSQL lets nothing more happen in one that met a conflict."""
    try:
        yield
    except sql_errors.Conflict as error:
        raise Conflict(field, message) from error

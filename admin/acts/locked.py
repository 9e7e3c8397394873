"""Rows that nobody else changes until the transaction ends: acts follow one another, also over several processes."""

from admin.acts.errors import NotFound
from sql.database import Connection
from sql.repositories import changes, projects, tokens
from sql.rows import ProjectRow, TokenRow


async def locked_project(tx: Connection, project_id: str) -> ProjectRow:
    """Raises NotFound."""
    await changes.hold_order(tx)
    row = await projects.get(tx, project_id)
    if row is None:
        raise NotFound("project")
    return row


async def locked_token(tx: Connection, token_id: str) -> TokenRow:
    """Raises NotFound."""
    await changes.hold_order(tx)
    row = await tokens.get(tx, token_id)
    if row is None:
        raise NotFound("token")
    return row

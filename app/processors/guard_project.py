"""GuardProject: sets `exchange.project`, and refuses calls of inactive ones."""

from app.errors import InvalidToken, ProjectInactive
from app.exchange import Exchange, Proceed
from app.lookups import Lookups


class GuardProject:
    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    async def __call__(self, exchange: Exchange, proceed: Proceed) -> None:
        project = await self._lookups.project(exchange.token.project_id)
        if project is None:
            raise InvalidToken("The project of this token is gone; ask for a token of another one.")
        exchange.project = project
        exchange.facts.recording = project.row.recording
        if not project.row.is_active:
            raise ProjectInactive("This project has been deactivated; ask its admin.")
        await proceed(exchange)

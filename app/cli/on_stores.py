"""What `migrate` and `audit` do: one act on the databases of the settings, which need no server that runs."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from app.cli.options import settings_with

if TYPE_CHECKING:
    from sql.stores import Stores

T = TypeVar("T")


def on_stores(act: "Callable[[Stores], Awaitable[T]]", db: Path | None, env: Path | None) -> T:
    from app.cli import checks
    from sql.stores import open_stores

    settings = settings_with({"DATABASE_PATH": db}, env)
    if settings.db_driver == "sqlite" and not settings.database_path:
        checks.data_folder(settings)

    async def run() -> T:
        stores = open_stores(settings)
        try:
            return await act(stores)
        finally:
            await stores.close()

    return asyncio.run(run())

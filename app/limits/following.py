"""The policy as the database has it: read at the start, and again whenever its version has changed."""

import asyncio
import logging
from typing import Final

import msgspec

from app.limits.limits import Limits
from config.errors import ConfigError
from config.limit_settings import LimitSettings
from config.logs import log
from config.policy import read_policy, with_settings
from sql.errors import StoreError
from sql.repositories import policies
from sql.stores import Stores

logger = logging.getLogger(__name__)

_LOOK_EVERY_S: Final = 1.0


class PolicyFollower:
    def __init__(self, stores: Stores, limits: Limits, settings: LimitSettings) -> None:
        self._stores, self._limits, self._settings = stores, limits, settings
        self._version = -1

    async def follow(self) -> None:
        """Runs for the life of the worker. While the database is away, the policy stays as it was."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def look(self) -> None:
        try:
            if await policies.version(self._stores.main) == self._version:
                return
            row = await policies.read(self._stores.main)
        except StoreError:
            return  # told where tokens are looked up
        self._version = row.version if row else 0
        self._obey(self._version, row.document if row else "{}")

    def _obey(self, version: int, document: str) -> None:
        """A document that this program cannot read (a newer one wrote it) changes nothing. A worker that has had no
        other one refuses all calls."""
        try:
            policy = with_settings(read_policy(msgspec.json.decode(document)), self._settings)
        except (ConfigError, msgspec.MsgspecError) as error:
            log(logger, logging.ERROR, "the policy cannot be read; the one before stays", error=str(error))
            return
        self._limits.follow(policy)
        log(logger, logging.INFO, "policy", version=version, limits=len(policy.limits), models=len(policy.models))

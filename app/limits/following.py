"""The policy as the database has it: read at the start, and again whenever a change tells of it."""

import logging

import msgspec

from app.limits.limits import Limits
from config.errors import ConfigError
from config.limit_settings import LimitSettings
from config.logs import log
from config.policy import read_policy, with_settings
from sql.repositories import policies
from sql.rows import ChangeRow
from sql.stores import Stores

logger = logging.getLogger(__name__)


class PolicyFollower:
    def __init__(self, stores: Stores, limits: Limits, settings: LimitSettings) -> None:
        self._stores, self._limits, self._settings = stores, limits, settings
        self._told: tuple[int, str] | None = None
        """Version and document, as they were read last."""

    async def read(self, _: ChangeRow | None = None) -> None:
        """Raises StoreError."""
        row = await policies.read(self._stores.main)
        told = (row.version, row.document) if row else (0, "{}")
        if told != self._told:
            self._told = told
            self._obey(*told)

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

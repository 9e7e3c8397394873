"""What `doctor` looks at. A look never changes anything but for making DATA_DIR, and never raises."""

import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from app.cli import checks
from app.cli.failures import Failure
from app.cli.options import settings_with
from app.ports import answers, why_not
from bus.errors import BusUnavailable
from bus.inspection import Inspection
from config import paths
from config.addresses import Address
from config.errors import ConfigError
from config.load import raw_environment
from config.retired import RETIRED
from config.settings import Settings
from sql import migrate
from sql.errors import SchemaMismatch, SealBroken, StoreError
from sql.repositories import api_keys, projects
from sql.stores import Stores, open_stores

_GIB = 1024**3
_PROJECTS = 200  # whose keys are looked at


class Finding(Struct, frozen=True):
    name: str
    state: Literal["ok", "warn", "fail"]
    text: str
    advice: str = ""


async def examine(flags: Mapping[str, object | None], env_file: Path | None) -> list[Finding]:
    try:
        settings = settings_with(flags, env_file)
    except ConfigError as error:
        return [Finding("settings", "fail", mistake) for mistake in error.mistakes]
    findings = [*_settings(settings), *_providers(settings), *_folder(settings), *_ports(settings)]
    if any(finding.name == "data" and finding.state == "fail" for finding in findings):
        return findings
    findings += [finding async for finding in _database(settings)]
    return [*findings, *_spool(settings), *await _keeper(settings)]


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding("settings", "ok", "can be read")
    if old := sorted(raw_environment(RETIRED)):
        yield Finding("settings", "warn", f"without effect here: {', '.join(old)}", "they may be removed")
    if settings.management_token is None:
        yield Finding("access", "fail", "MANAGEMENT_TOKEN is not set", "run `llm-proxy setup`")
    if settings.management_token_previous:
        told = "MANAGEMENT_TOKEN_PREVIOUS is still taken"
        yield Finding("access", "warn", told, "remove it when the audit log shows management_token_previous no more")
    if settings.encryption_key is None:
        yield Finding("access", "warn", "ENCRYPTION_KEY is not set: API keys lie in clear", "run `llm-proxy setup`")
    if settings.management_token and settings.encryption_key:
        yield Finding("access", "ok", "MANAGEMENT_TOKEN and ENCRYPTION_KEY are set")


def _providers(settings: Settings) -> Iterator[Finding]:
    try:
        known = checks.providers(settings)
    except ConfigError as error:
        for mistake in error.mistakes:
            yield Finding("providers", "fail", mistake)
    else:
        yield Finding("providers", "ok", f"{', '.join(sorted(known.by_name))}; /v1 is {known.default.name}")


def _folder(settings: Settings) -> Iterator[Finding]:
    try:
        folder = checks.data_folder(settings)
    except Failure as error:
        yield Finding("data", "fail", str(error))
        return
    free = shutil.disk_usage(folder).free
    text = f"{folder.absolute()} can be written, {free / _GIB:.1f} GiB free"
    if free < settings.spool_max_bytes:
        advice = "free some room or lower LLM_PROXY_SPOOL_MAX_BYTES"
        yield Finding("data", "warn", f"{text}; a full spool would need {settings.spool_max_bytes / _GIB:.1f}", advice)
    else:
        yield Finding("data", "ok", text)


def _ports(settings: Settings) -> Iterator[Finding]:
    proxy, admin = checks.listening(settings)
    yield _port("LISTEN_ADDR", proxy)
    yield _port("ADMIN_UI_LISTEN_ADDR", admin)


def _port(setting: str, address: Address) -> Finding:
    reason = why_not(address) if address.port else ""
    if not reason:
        return Finding("port", "ok", f"{address} is free ({setting})")
    if answers(address, 1.0):
        return Finding("port", "warn", f"{address} is in use ({setting})", "fine when it is this server that runs")
    return Finding("port", "fail", f"{address}: {reason}", f"set {setting}")


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    where = str(paths.main_db(settings).absolute()) if settings.db_driver == "sqlite" else "PostgreSQL"
    if settings.db_driver == "sqlite" and not paths.main_db(settings).exists():
        yield Finding("database", "warn", f"{where} does not exist yet", "`llm-proxy setup` or `server` makes it")
        return
    stores = open_stores(settings)
    try:
        await stores.main.ping()
        await stores.records.ping()
        yield Finding("database", "ok", f"{where} answers")
        await migrate.check(stores)
        yield Finding("schema", "ok", "is this program's")
        yield await _keys(stores)
    except SchemaMismatch as error:
        yield Finding("schema", "fail", str(error))
    except SealBroken as error:
        yield Finding("keys", "fail", str(error), "set the ENCRYPTION_KEY that they were sealed with")
    except StoreError as error:
        yield Finding("database", "fail", f"{where}: {error}", "start it, or correct DATABASE_URL / DATABASE_PATH")
    finally:
        await stores.close()


async def _keys(stores: Stores) -> Finding:
    """Raises SealBroken."""
    found = await projects.list_page(stores.main, search=None, is_active=True, after=None, limit=_PROJECTS)
    if not found:
        return Finding("keys", "warn", "there is no active project", "`llm-proxy manage project create`")
    keyless = [row.name for row in found if not await api_keys.for_project(stores.main, stores.sealer, row.id)]
    if keyless:
        shown = ", ".join(keyless[:5])
        advice = "`llm-proxy manage project update ID --openai-key ...`"
        return Finding("keys", "warn", f"{len(keyless)} projects have no provider's key: {shown}", advice)
    return Finding("keys", "ok", f"each of {len(found)} active projects has a provider's key, and all can be opened")


def _spool(settings: Settings) -> Iterator[Finding]:
    root = paths.spool_root(settings)
    # Allocated, not apparent size: segments are made before they are filled.
    size = sum(_allocated(file) for file in root.rglob("*")) if root.exists() else 0
    share = size / settings.spool_max_bytes
    text = f"{size / 1024**2:.0f} MiB of {settings.spool_max_bytes / 1024**2:.0f}"
    if share > 0.8:
        yield Finding("spool", "warn", text, "the keeper or the backends do not keep up; see the lines below")
    else:
        yield Finding("spool", "ok", text)


def _allocated(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except OSError:  # deleted while we look
        return 0


async def _keeper(settings: Settings) -> list[Finding]:
    try:
        stats = await Inspection(paths.keeper_socket(settings)).stats()
    except BusUnavailable:
        return [
            Finding("keeper", "warn", "no keeper runs here", "`llm-proxy server` starts one; until then events wait")
        ]
    lag = sum(group.lag + group.pending for group in stats.bus.groups)
    findings = [Finding("keeper", "ok", f"runs; {stats.bus.appended} events taken in, {lag} deliveries outstanding")]
    if stats.bus.unclaimed:
        text = f"{stats.bus.unclaimed} large events went to Redis whole: their folder could not be written"
        findings.append(Finding("claims", "warn", text, "look at LLM_PROXY_CLAIM_CHECK_DIR; the keeper's log says why"))
    for backend in stats.backends:
        if backend.error:
            text = f"{backend.name} is {backend.state} after {backend.failures} failures: {backend.error}"
            findings.append(Finding("backend", "warn", text, "events wait for it and are kept"))
    return findings

"""What `setup` does once it knows what is wanted: the file of settings, the schema, a project with a key, a token."""

from pathlib import Path

from msgspec import Struct

from app.cli import checks, secret_file
from app.cli.failures import Failure
from app.cli.schema import prepare as prepare_schema
from app.cli.try_it import curl_line
from config.addresses import parse
from config.clock import SystemClock
from config.errors import ConfigError
from config.ids import new_token
from config.load import load_settings, raw_environment
from config.secret import Secret
from config.settings import Settings

_HEAD = (
    "Settings of llm-proxy, made by `llm-proxy setup`. Keep it secret and back it up:",
    "without ENCRYPTION_KEY the stored API keys cannot be opened.",
)


class FirstProject(Struct, frozen=True, kw_only=True):
    name: str
    provider: str
    """Empty: the default provider."""
    key: str
    duration_minutes: int
    max_requests: int | None


def write_env(path: Path, chosen: dict[str, str], wanted: FirstProject | None) -> Settings:
    """Writes the file and returns the settings as a server started here would see them. Raises ConfigError, Failure."""
    from sql.sealing import new_key

    old = _old_encryption_key(path)
    values = {
        "MANAGEMENT_TOKEN": chosen.get("MANAGEMENT_TOKEN") or new_token().removeprefix("sk-"),
        "ENCRYPTION_KEY": old or new_key(),
        **{name: value for name, value in chosen.items() if name != "MANAGEMENT_TOKEN"},
    }
    if broken := [name for name, value in values.items() if "\n" in value or "\r" in value or '"' in value]:
        raise ConfigError([f"{name}: a quotation mark or a line break cannot be written to {path}" for name in broken])
    _check_before_writing(values, wanted)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        secret_file.write(path, {name: f'"{value}"' for name, value in values.items()}, head=_HEAD)
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from error
    return load_settings(env_file=path)


async def prepare(settings: Settings, wanted: FirstProject | None) -> dict[str, str]:
    """The schema, and the project and token when they are wanted. Raises StoreError, ActError."""
    from admin.acts.actor import Actor
    from admin.acts.projects import create_project
    from admin.acts.tokens import create_token
    from sql.stores import open_stores

    checks.data_folder(settings)
    await prepare_schema(settings)
    if wanted is None:
        return {}
    default = checks.providers(settings).default.name
    provider = wanted.provider or default
    stores, clock, actor = open_stores(settings), SystemClock(), Actor(name="cli")
    try:
        project = await create_project(
            stores, clock, actor, name=wanted.name, api_key=Secret(wanted.key), provider=provider
        )
        row, token = await create_token(
            stores,
            clock,
            actor,
            project_id=project.id,
            duration_ms=wanted.duration_minutes * 60_000,
            max_requests=wanted.max_requests,
        )
    finally:
        await stores.close()
    url = parse(settings.listen_addr, "LISTEN_ADDR").url
    return {
        "project_id": project.id,
        "project": project.name,
        "token_id": row.id,
        "token": token,
        "curl": curl_line(url, token, provider, is_default=provider == default),
    }


def _check_before_writing(values: dict[str, str], wanted: FirstProject | None) -> None:
    """What would be refused after the file is written is refused before. Raises ConfigError."""
    settings = load_settings({**_without_env_file(), **values})
    checks.configuration(settings)
    if wanted is None:
        return
    known = checks.providers(settings).by_name
    if wanted.provider and wanted.provider not in known:
        raise ConfigError([f"--provider {wanted.provider!r} is not configured; there are {', '.join(sorted(known))}"])


def _without_env_file() -> dict[str, str]:
    from config.load import child_environment

    return child_environment({"ENV": "/dev/null"})


def _old_encryption_key(path: Path) -> str:
    """A new one would make every stored API key unreadable."""
    return raw_environment(frozenset({"ENCRYPTION_KEY"}), path).get("ENCRYPTION_KEY", "")

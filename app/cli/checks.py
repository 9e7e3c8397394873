"""What a command can know before it starts anything, beyond what `load_settings` has refused already."""

import os
import tempfile
from pathlib import Path

from msgspec import structs

from app.cli.failures import Failure
from app.ports import any_free, why_not
from config.addresses import Address, parse
from config.errors import ConfigError
from config.providers import SHIPPED_FILE, Providers, load_providers
from config.settings import Settings


def listening(settings: Settings) -> tuple[Address, Address]:
    """Where the proxy and the admin listen."""
    return (
        parse(settings.listen_addr, "LISTEN_ADDR"),
        parse(settings.admin_ui_listen_addr, "ADMIN_UI_LISTEN_ADDR"),
    )


def with_ports(settings: Settings) -> Settings:
    """Port 0, any free one, becomes a number: all workers and whoever prints it have to mean the same."""
    named = [address if address.port else any_free(address.host) for address in listening(settings)]
    return structs.replace(settings, listen_addr=str(named[0]), admin_ui_listen_addr=str(named[1]))


def providers(settings: Settings) -> Providers:
    """Raises ConfigError with file, line and reason."""
    path = Path(settings.api_config_path) if settings.api_config_path else SHIPPED_FILE
    return load_providers(path, settings.default_api_provider)


def management_token(settings: Settings) -> None:
    """Raises ConfigError."""
    if settings.management_token is None:
        raise ConfigError(["MANAGEMENT_TOKEN is not set; `llm-proxy setup` makes one"])


def configuration(settings: Settings) -> None:
    """All mistakes at once. Raises ConfigError."""
    mistakes: list[str] = []
    for check in (management_token, providers):
        try:
            check(settings)
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigError(mistakes)


def data_folder(settings: Settings) -> Path:
    """Makes DATA_DIR and proves that it can be written. Raises Failure."""
    folder = Path(settings.data_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise Failure(
            f"DATA_DIR {folder.absolute()} cannot be written ({error.strerror}); "
            "free some room, correct its permissions or set DATA_DIR to another folder"
        ) from error
    return folder


def free_port(setting: str, address: Address) -> None:
    """Raises Failure naming the setting whose port is taken."""
    if reason := why_not(address):
        raise Failure(f"cannot listen on {address} ({reason}); stop what listens there or set {setting}")

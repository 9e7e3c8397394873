"""What the demo keeps between starts in its DATA_DIR: `demo.env` has the server's secrets, `demo.json` the rest."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from app.demo.traffic import Tokens


class DemoState(Struct, frozen=True, kw_only=True):
    simulated: tuple[str, ...]
    """Providers that the demo plays, having no real key."""
    provider_port: int
    token: str
    """Of the project `demo`, for the newcomer."""
    tokens: Tokens
    default_provider: str


def path_in(folder: Path) -> Path:
    return folder / "demo.json"


def load(folder: Path) -> DemoState | None:
    """None when there is none, or one of another version."""
    try:
        return msgspec.json.decode(path_in(folder).read_bytes(), type=DemoState)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def save(folder: Path, state: DemoState) -> None:
    """For its owner only: it holds tokens. Raises OSError."""
    draft = path_in(folder).with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state), indent=2))
    draft.replace(path_in(folder))

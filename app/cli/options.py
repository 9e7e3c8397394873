"""Options that several commands share, and settings with a command's flags laid over them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from config.load import child_environment, load_settings
from config.settings import Settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
EnvFile = Annotated[Path | None, typer.Option("--env", help="Read settings from this file instead of ./.env.")]
DbPath = Annotated[
    Path | None, typer.Option("--db", help="The SQLite file [env: DATABASE_PATH; default: DATA_DIR/llm-proxy.db].")
]


def settings_with(flags: Mapping[str, object | None], env_file: Path | None = None) -> Settings:
    """The environment and `.env`, with the flags that were given over them. Raises ConfigError."""
    given = {name: str(value) for name, value in flags.items() if value is not None}
    return load_settings(child_environment(given), env_file)

"""Where things lie below DATA_DIR. Nothing here touches the disk; whoever owns a place makes it."""

from pathlib import Path

from config.settings import Settings


def data_dir(settings: Settings) -> Path:
    return Path(settings.data_dir)


def main_db(settings: Settings) -> Path:
    """The SQLite file of projects, tokens, sessions and audit."""
    return Path(settings.database_path) if settings.database_path else data_dir(settings) / "llm-proxy.db"


def records_db(settings: Settings) -> Path:
    """The SQLite file of requests and bodies, apart so that recording never makes a quota wait."""
    return main_db(settings).with_name("records.db")


def bus_db(settings: Settings) -> Path:
    """The embedded log; only the keeper opens it."""
    return data_dir(settings) / "bus.db"


def spool_root(settings: Settings) -> Path:
    """Holds one folder per spool."""
    return data_dir(settings) / "spool"


def parking_root(settings: Settings) -> Path:
    """Holds a folder per backend, with the events of those that are away for long."""
    return data_dir(settings) / "parking"


def keeper_socket(settings: Settings) -> Path:
    """Where the keeper answers the admin and the CLI (unix stream)."""
    return data_dir(settings) / "keeper.sock"


def limits_dir(settings: Settings) -> Path:
    """Where the owner of the limits' counts keeps its journal, when there is no Redis."""
    return data_dir(settings) / "limits"


def limits_socket(settings: Settings) -> Path:
    """Where workers ask it (unix stream)."""
    return data_dir(settings) / "limits.sock"


def wake_socket(settings: Settings) -> Path:
    """Where workers poke the keeper (unix datagram)."""
    return data_dir(settings) / "wake.sock"


def run_dir(settings: Settings) -> Path:
    """Process ids and snapshots of metrics; may be deleted while nothing runs."""
    return data_dir(settings) / "run"


def metrics_dir(settings: Settings) -> Path:
    """Where each process leaves its numbers for the one scrape."""
    return run_dir(settings) / "metrics"

"""Files of NAME=value lines that only their owner may read: `.env` of `setup`, `demo.env` of the demo."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def write(path: Path, values: Mapping[str, str], *, head: Sequence[str]) -> None:
    """Mode 0600 from the first byte on, and either whole or not at all. Raises OSError."""
    text = "".join(f"# {line}\n" for line in head) + "".join(f"{name}={value}\n" for name, value in values.items())
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise

"""Disks that are small enough to be filled: tmpfs mounts, as root."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

SIZES_MB = {"bus": 96, "spool": 24, "databases": 768}
_FILLER = ".filler"
_BLOCK = bytes(64 * 1024)


class Disks(Struct, frozen=True):
    """Where things lie: `data` is DATA_DIR, whose `spool` may be a disk of its own."""

    data: Path
    databases: Path

    @property
    def spool(self) -> Path:
        return self.data / "spool"


@contextmanager
def mounted(disks: Disks) -> Iterator[None]:
    """Mounts the three, and unmounts them in any case; whoever still uses them then is dead or keeps a ghost."""
    mounts: list[Path] = []
    try:
        for name, path in (("bus", disks.data), ("spool", disks.spool), ("databases", disks.databases)):
            path.mkdir(parents=True, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZES_MB[name]}m", "tmpfs", str(path)], check=True)
            mounts.append(path)
        yield
    finally:
        for path in reversed(mounts):
            subprocess.run(["umount", "-l", str(path)], check=True)


def fill(folder: Path) -> None:
    """Takes the room that is left; called again it takes what has become free since."""
    with contextlib.suppress(OSError), (folder / _FILLER).open("ab", buffering=0) as file:
        while file.write(_BLOCK):
            pass
    with contextlib.suppress(OSError), (folder / _FILLER).open("ab", buffering=0) as file:
        while file.write(b"\0" * 512):
            pass


def is_full(folder: Path) -> bool:
    return os.statvfs(folder).f_bavail < 4


def empty(folder: Path) -> None:
    (folder / _FILLER).unlink(missing_ok=True)

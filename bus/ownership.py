"""Who owns a spool's folder: the worker that holds the flock on its LOCK. The kernel lets go of it at any death.

<root>/<uuid>/LOCK    held: a worker writes here    free: the worker is gone, the relay may adopt the folder
"""

import errno
import fcntl
import os
import time
import uuid
from pathlib import Path
from typing import Final

from bus.errors import SpoolUnusable
from bus.segments import sync_folder
from config.ids import id_text, new_id_bytes

LOCK: Final = "LOCK"
_UNFINISHED: Final = ".new"
_GONE: Final = ".gone"
_MAKING_S: Final = 60.0


def make_folder(root: Path) -> tuple[bytes, Path, int]:
    """A new spool's id, folder and held lock; the name appears only once the lock is held. Raises SpoolUnusable."""
    spool = new_id_bytes()
    folder = root / id_text(spool)
    unfinished = root / f".{folder.name}{_UNFINISHED}"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished.mkdir(mode=0o700)
        held = take(unfinished / LOCK)
        unfinished.rename(folder)
        sync_folder(root)
    except OSError as error:
        raise unusable(root, error) from error
    if held is None:
        raise SpoolUnusable(f"{unfinished / LOCK} is held by somebody else")
    return spool, folder, held


def unusable(root: Path, error: OSError) -> SpoolUnusable:
    advice = (
        "free some room on it"
        if error.errno in (errno.ENOSPC, errno.EDQUOT)
        else "give DATA_DIR a local folder that this user may write"
    )
    return SpoolUnusable(f"cannot write the spool in {root}: {error.strerror}; {advice}")


def take(lock: Path) -> int | None:
    """The held lock's descriptor; None when another process holds it. Raises OSError."""
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def spools(root: Path) -> dict[bytes, Path]:
    """All spools by id, oldest first (ids are made of time)."""
    found = {}
    for name in sorted(_names(root)):
        try:
            found[uuid.UUID(name).bytes] = root / name
        except ValueError:
            continue
    return found


def set_aside(folder: Path) -> Path:
    """Takes a finished spool's name away, durably; what is left has only to be deleted. Raises OSError."""
    gone = folder.with_name(f".{folder.name}{_GONE}")
    folder.rename(gone)
    sync_folder(folder.parent)
    return gone


def left_aside(root: Path) -> dict[bytes, Path]:
    """Spools that were set aside and not yet deleted."""
    names = [name for name in _names(root) if name.endswith(_GONE)]
    return {uuid.UUID(name[1 : -len(_GONE)]).bytes: root / name for name in names}


def unfinished(root: Path) -> list[Path]:
    """Folders whose worker died while it made them, and long enough ago that it is not just making them."""
    oldest = time.time() - _MAKING_S
    candidates = (root / name for name in _names(root) if name.endswith(_UNFINISHED))
    return [folder for folder in candidates if folder.stat().st_mtime < oldest and not _is_held(folder / LOCK)]


def _is_held(lock: Path) -> bool:
    held = take(lock)
    if held is not None:
        os.close(held)
    return held is None


def _names(root: Path) -> list[str]:
    return [entry.name for entry in os.scandir(root)]

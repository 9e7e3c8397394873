"""Wall clocks that can be stepped: every Python process of a round adds to its time what the file CHAOS_CLOCK says.

Python imports a module of this name by itself when its folder is on PYTHONPATH. Monotonic clocks are left alone, as a
real step leaves them.
"""

import mmap
import os
import struct
import time

_ns = time.time_ns
_file = os.environ.get("CHAOS_CLOCK", "")

if _file and os.path.exists(_file):  # noqa: PTH110 - pathlib would be imported into each process for this
    with open(_file, "rb") as _opened:  # noqa: PTH123
        _step = mmap.mmap(_opened.fileno(), 8, prot=mmap.PROT_READ)

    def _stepped_ns() -> int:
        return _ns() + int(struct.unpack_from("<q", _step)[0])

    time.time_ns = _stepped_ns
    time.time = lambda: _stepped_ns() / 1e9

"""A load in a process of its own, and looks at the product while it lasts."""

import subprocess
import sys
from collections.abc import Callable

import msgspec

from tests.bench.gauges import Look, look
from tests.support.proxy import ROOT, Proxy


def watched(
    product: Proxy, module: str, asked: msgspec.Struct, *, began: float, every_s: float, told: Callable[[Look], str]
) -> tuple[list[Look], bytes]:
    """`module` gets `asked` as its argument. Returns the looks and what it wrote; `told` is printed of each look."""
    command = [sys.executable, "-m", module, msgspec.json.encode(asked).decode()]
    looks: list[Look] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as load:
        while load.poll() is None:
            try:
                load.wait(every_s)
            except subprocess.TimeoutExpired:
                looks.append(look(product, began))
                print(told(looks[-1]), flush=True)
        assert load.stdout is not None
        return looks, load.stdout.read()

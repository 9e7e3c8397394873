"""How long `llm-proxy server` takes from its start until /ready says yes: the whole product, on all cores."""

import time
from pathlib import Path
from typing import Final

import httpx

from tests.bench.stand import WholeProduct
from tests.support.proxy import free_port
from tests.support.upstream import Upstream
from tests.support.waiting import eventually

TRIES: Final = 5


def start_seconds(folder: Path, upstream: Upstream) -> list[float]:
    return [_started(folder / f"start-{number}", upstream) for number in range(TRIES)]


def _started(folder: Path, upstream: Upstream) -> float:
    """With a schema that is up already, as at every start but the first."""
    folder.mkdir(parents=True)
    product = WholeProduct(folder, upstream, environ={"ADMIN_UI_LISTEN_ADDR": f"127.0.0.1:{free_port()}"})
    product.prepare()
    began = time.monotonic()
    product.launch()
    try:
        eventually(lambda: _is_ready(product.url), every_s=0.005)
        return time.monotonic() - began
    finally:
        product.kill()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=60).status_code == 200
    except httpx.TransportError:
        return False

"""One proxy worker under Granian, as `llm-proxy server` runs it, without supervisor, keeper and admin."""

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings

from app.front import Front
from app.main import build_app
from config.addresses import parse
from config.load import load_settings
from config.logs import set_up_logs


def create() -> Front:
    settings = load_settings()
    set_up_logs(settings, "server")
    return build_app(settings)


def main() -> None:
    settings = load_settings()
    address = parse(settings.listen_addr, "LISTEN_ADDR")
    Granian(
        "tests.support.run_proxy:create",
        factory=True,
        address=address.host,
        port=address.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        websockets=False,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=settings.drain_s,
        http1_settings=HTTP1Settings(header_read_timeout=650_000),
    ).serve()


if __name__ == "__main__":
    main()

"""The demo's own process: plays the provider, makes the traffic, and tells the newcomer where everything is."""

import asyncio
from pathlib import Path

import httpx

from app.cli import demo_state, output
from app.cli.demo_state import DemoState
from app.cli.in_process import server_for
from app.cli.try_it import curl_line
from app.demo.provider import Provider
from app.demo.traffic import Traffic
from config.addresses import Address, parse
from config.ending import told_to_end
from config.settings import Settings

_ASK_AGAIN_S = 0.05
_ASK_S = 2.0


async def run_demo(settings: Settings, *, with_admin: bool, with_traffic: bool) -> int:
    """Until SIGTERM."""
    state = demo_state.load(Path(settings.data_dir))
    if state is None:
        return 1
    stop = told_to_end()
    provider = server_for(Provider().app(), Address("127.0.0.1", state.provider_port))
    async with asyncio.TaskGroup() as tasks:
        playing = tasks.create_task(provider.serve(), name="demo provider") if state.simulated else None
        greeting = tasks.create_task(_greet_and_call(settings, state, with_admin, with_traffic), name="demo traffic")
        await stop.wait()
        greeting.cancel()
        if playing:
            provider.stop()  # type: ignore[no-untyped-call]
    return 0


async def _greet_and_call(settings: Settings, state: DemoState, with_admin: bool, with_traffic: bool) -> None:
    proxy = parse(settings.listen_addr, "LISTEN_ADDR").url
    admin = parse(settings.admin_ui_listen_addr, "ADMIN_UI_LISTEN_ADDR").url if with_admin else ""
    await _until_ready(*(f"{url}/ready" for url in (proxy, admin) if url))
    output.say(_banner(settings, state, proxy, admin, with_traffic))
    output.flush()
    if with_traffic:
        await Traffic(proxy, state.tokens, state.simulated).run()


async def _until_ready(*urls: str) -> None:
    async with httpx.AsyncClient(timeout=_ASK_S, trust_env=False) as client:
        for url in urls:
            while not await _is_ready(client, url):  # noqa: ASYNC110  # another process, which sends no event
                await asyncio.sleep(_ASK_AGAIN_S)


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _banner(settings: Settings, state: DemoState, proxy: str, admin: str, with_traffic: bool) -> str:
    token = settings.management_token.reveal() if settings.management_token else ""
    played = ", ".join(state.simulated)
    upstream = f"built in, plays {played}; set OPENAI_API_KEY or ANTHROPIC_API_KEY for the real ones"
    lines = {
        "proxy": f"{proxy}/v1",
        "admin": f"{admin}/admin   management token: {token}" if admin else f"off; management token: {token}",
        "data": f"{Path(settings.data_dir).absolute()}   (databases, spool, secrets; remove it to begin anew)",
        "provider": upstream if played else "the real ones",
        "traffic": "about one demo call a second; --no-demo: none" if with_traffic else "none but yours",
        "try it": curl_line(proxy, state.token, state.default_provider),
    }
    body = "\n".join(f"  {name:<9} {text}" for name, text in lines.items())
    return f"\nllm-proxy is up\n\n{body}\n\nCtrl-C stops it.\n"

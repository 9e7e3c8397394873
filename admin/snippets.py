"""Lines to paste: a first call with a token, in the dialect of a provider that the project has a key for."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from admin.parts import Parts
from config.addresses import EVERYWHERE, Address, parse
from config.providers import Dialect, Provider
from sql.errors import SealBroken
from sql.repositories import api_keys

_MODELS: Final[Mapping[Dialect, str]] = {
    "openai": "gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
}
_LANGUAGES: Final = (("curl", "curl"), ("python", "Python"), ("node", "Node.js"))


class Snippet(Struct, frozen=True):
    id: str
    title: str
    code: str


async def snippets(parts: Parts, project_id: str, token: str, browser_url: str) -> list[Snippet]:
    """`browser_url` is how the browser sees the admin; it tells the proxy's host when nothing else does."""
    provider = await _provider(parts, project_id)
    base = proxy_url(parts, browser_url)
    if provider.name != parts.providers.default.name or provider.dialect == "gemini":  # /v1beta is no path of ours
        base = f"{base}/{provider.name}"
    context = {"base": base, "token": token, "model": _MODELS[provider.dialect]}
    return [
        Snippet(id, title, parts.templates.render(f"snippets/{provider.dialect}.{id}.txt", context).rstrip("\n"))
        for id, title in _LANGUAGES
    ]


async def _provider(parts: Parts, project_id: str) -> Provider:
    """The default one if the project can call it, else the first that it can call."""
    try:
        keys = await api_keys.for_project(parts.stores.main, parts.stores.sealer, project_id)
    except SealBroken:
        keys = []
    names = [key.provider for key in keys if key.provider in parts.providers.by_name]
    default = parts.providers.default
    return default if not names or default.name in names else parts.providers.by_name[names[0]]


def proxy_url(parts: Parts, browser_url: str) -> str:
    """What was configured; else the proxy's port on the host that the browser uses.

    Behind a load balancer (https) both are one origin, because it tells them apart by path.
    """
    if parts.public_url:
        return parts.public_url.rstrip("/")
    seen = urlsplit(browser_url)
    if seen.scheme == "https":
        return f"https://{seen.netloc}"
    listens = parse(parts.settings.listen_addr, "LISTEN_ADDR")
    if listens.host == EVERYWHERE:
        listens = Address(seen.hostname or "localhost", listens.port)
    return listens.url

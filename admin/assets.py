"""Stylesheet, script and icons, read once at start and served from memory under names that carry their content's hash.

All scripts are one file: htmx and what listens to it must not race each other, which separate `defer` scripts do.
"""

import hashlib
import mimetypes
from pathlib import Path
from typing import Final

from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

FOLDER: Final = Path(__file__).with_name("static")
PREFIX: Final = "/admin/static/"
_BUNDLES: Final = {
    "admin.js": ("vendor/htmx.min.js", "admin.js"),
    "admin.css": ("admin.css",),
    "icon.svg": ("icon.svg",),
    "icons.svg": ("icons.svg",),
}
_FOREVER: Final = "public, max-age=31536000, immutable"


class Asset(Struct, frozen=True):
    hashed_name: str
    content: bytes
    media_type: str


class Assets:
    def __init__(self, folder: Path = FOLDER) -> None:
        self._by_name = {name: _bundle(folder, name, parts) for name, parts in _BUNDLES.items()}
        self._by_hashed_name = {asset.hashed_name: asset for asset in self._by_name.values()}

    def url(self, name: str) -> str:
        """Raises KeyError for a name that is not served: a template's mistake."""
        return PREFIX + self._by_name[name].hashed_name

    async def serve(self, request: Request) -> Response:
        asset = self._by_hashed_name.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        return Response(asset.content, media_type=asset.media_type, headers={"Cache-Control": _FOREVER})


def _bundle(folder: Path, name: str, parts: tuple[str, ...]) -> Asset:
    content = b"\n;\n".join((folder / part).read_bytes() for part in parts)
    stem, dot, suffix = name.rpartition(".")
    digest = hashlib.sha256(content).hexdigest()[:12]
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Asset(f"{stem}.{digest}{dot}{suffix}", content, media_type)

"""What we ship of others is exactly what they published, and reaches the browser as one file."""

import base64
import hashlib
import re

import msgspec
import pytest

from admin.assets import FOLDER, Assets
from tests.admin.pages.site import Site
from tests.support.source_tree import ROOT

LOCK = msgspec.json.decode((FOLDER / "vendor.lock.json").read_bytes())


def sha384(path: str) -> str:
    digest = hashlib.sha384((FOLDER / path).read_bytes()).digest()
    return "sha384-" + base64.b64encode(digest).decode()


def test_every_vendored_file_has_the_hash_of_the_lock() -> None:
    locked = {path: digest for package in LOCK for path, digest in package["files"].items()}

    assert {path: sha384(path) for path in locked} == locked
    assert {f"vendor/{file.name}" for file in (FOLDER / "vendor").iterdir()} == set(locked)


def test_every_vendored_package_is_told_of_in_the_notices() -> None:
    notices = (ROOT / "THIRD_PARTY_NOTICES").read_text(encoding="utf-8")

    for package in LOCK:
        assert f"{package['name'].removesuffix('.org')} {package['version']}" in notices
        assert (FOLDER / package["notice"]).read_text(encoding="utf-8").strip() in notices


def test_the_lock_names_no_place_to_download_from() -> None:
    assert "http" not in (FOLDER / "vendor.lock.json").read_text(encoding="utf-8")


def test_htmx_and_its_listeners_are_one_file_because_two_would_race() -> None:
    bundle = (FOLDER / "vendor/htmx.min.js").read_bytes() + b"\n;\n" + (FOLDER / "admin.js").read_bytes()
    name = f"admin.{hashlib.sha256(bundle).hexdigest()[:12]}.js"

    assert Assets().url("admin.js") == f"/admin/static/{name}"


async def test_a_page_loads_one_script_and_nothing_from_elsewhere(site: Site) -> None:
    page = (await site.get("/admin/sign-in")).text

    assert len(re.findall(r"<script", page)) == 1
    assert not re.findall(r'(?:src|href|action)="(?!/|#)', page)


@pytest.mark.parametrize("name", ["admin.js", "admin.css", "icon.svg", "icons.svg"])
async def test_static_files_may_be_kept_for_ever(site: Site, name: str) -> None:
    reply = await site.get(site.parts.assets.url(name))

    assert reply.status_code == 200
    assert reply.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert reply.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["admin.js", "admin.000000000000.js", "vendor/htmx.min.js", "..%2fmain.py"])
async def test_nothing_else_of_the_folder_is_served(site: Site, name: str) -> None:
    reply = await site.get(f"/admin/static/{name}")

    assert reply.status_code == 404
    assert reply.headers["cache-control"] == "no-store"

"""What users and clients wrote is shown as text, wherever it is shown."""

import pytest
from msgspec.structs import replace

from sql.repositories import requests
from sql.rows import BodyRow
from tests.admin.pages.site import Site, project, request_row, token

CANARY = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
async def hostile(signed_in: Site) -> tuple[Site, dict[str, str]]:
    """A project, a token and an exchange of somebody who tries it everywhere."""
    row = await project(signed_in.stores, CANARY)
    made, _ = await token(signed_in.stores, row.id)
    told = {name: CANARY for name in request_row().__struct_fields__ if isinstance(getattr(request_row(), name), str)}
    exchange = replace(
        request_row(project_id=row.id, token_id=made.id),
        **{name: text for name, text in told.items() if name not in ("event_id", "project_id", "token_id", "cut")},
    )
    body = BodyRow(
        event_id=exchange.event_id,
        side="response",
        data=CANARY.encode(),
        content_type=CANARY,
        content_encoding="",
        truncated=False,
    )
    await requests.insert_many(signed_in.stores.records, [exchange], [body])
    return signed_in, {"project": row.id, "token": made.id, "request": exchange.event_id}


PATHS = [
    "/admin/",
    "/admin/projects",
    "/admin/projects/{project}",
    "/admin/projects/{project}/edit",
    "/admin/projects/{project}/switch",
    "/admin/projects/{project}/revoke-all",
    "/admin/tokens",
    "/admin/tokens/new?project={project}",
    "/admin/tokens/{token}",
    "/admin/requests?window=7d",
    "/admin/requests/{request}",
    "/admin/audit",
]


async def test_what_others_named_is_text(hostile: tuple[Site, dict[str, str]]) -> None:
    site, ids = hostile

    pages = {path: (await site.get(path.format(**ids))).text for path in PATHS}

    assert [path for path, page in pages.items() if "&lt;script&gt;alert(1)" not in page] == []
    assert [path for path, page in pages.items() if "<script>alert" in page or "<img" in page] == []


@pytest.mark.parametrize("path", ["/admin/projects", "/admin/requests", "/admin/audit", "/admin/tokens", "/admin/nope"])
async def test_what_an_address_says_is_text(signed_in: Site, path: str) -> None:
    names = ["q", "model", "request_id", "project", "state", "after", "trail", "token", "object_id"]

    pages = [await signed_in.client.get(path, params={name: CANARY}) for name in names]

    assert {page.status_code for page in pages} == {404 if path.endswith("nope") else 200}
    assert [page for page in pages if "<script>alert" in page.text or "<img" in page.text] == []


async def test_a_refused_value_is_text_in_the_form_again(signed_in: Site) -> None:
    reply = await signed_in.post("/admin/projects/new", {"name": CANARY * 10, "recording": CANARY})

    assert reply.status_code == 422
    assert "<script>alert" not in reply.text


async def test_a_request_id_is_taken_over_only_when_it_is_harmless(signed_in: Site) -> None:
    good = await signed_in.client.get("/nope", headers={"X-Request-Id": "my-request-0001"})
    bad = await signed_in.client.get("/nope", headers={"X-Request-Id": "<script>alert(1)</script>"})

    assert good.headers["x-request-id"] == "my-request-0001"
    assert "my-request-0001" in good.text
    assert "<script>alert" not in bad.text

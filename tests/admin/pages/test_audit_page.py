"""The audit log as it is read."""

import re

from tests.admin.pages.site import Site, project, token


def actions(page: str) -> list[str]:
    return re.findall(r'<td data-label="Action"><span class="mono">([^<]+)', page)


async def test_it_lists_who_changed_what_newest_first(signed_in: Site) -> None:
    row = await project(signed_in.stores, "Support bot")
    await signed_in.post(f"/admin/projects/{row.id}/edit", {"name": "Renamed bot", "recording": "full"})

    page = (await signed_in.get("/admin/audit")).text

    assert actions(page) == ["project.update", "project.create", "admin.login"]
    assert "<del>Support bot</del> → <ins>Renamed bot</ins>" in page
    assert f'href="/admin/projects/{row.id}"' in page


async def test_it_shows_no_secret(signed_in: Site) -> None:
    row = await project(signed_in.stores, key="sk-proj-0123456789abcdef")
    _, secret = await token(signed_in.stores, row.id)

    page = (await signed_in.get("/admin/audit")).text

    assert "sk-proj-...cdef" in page
    assert "sk-proj-0123456789abcdef" not in page
    assert secret not in page


async def test_it_is_searched_by_word_outcome_and_object(signed_in: Site) -> None:
    row = await project(signed_in.stores, "Support bot")
    made, _ = await token(signed_in.stores, row.id)
    await signed_in.post("/admin/sign-in", {"token": "wrong"})

    async def found(query: str) -> list[str]:
        return actions((await signed_in.get(f"/admin/audit?{query}")).text)

    assert await found("q=support") == ["project.create"]
    assert await found("outcome=denied") == ["admin.login"]
    assert await found(f"object_id={made.id}") == ["token.create"]
    assert await found("q=%25") == []


async def test_older_pages_go_on_without_a_gap(signed_in: Site) -> None:
    for number in range(70):
        await project(signed_in.stores, f"Project {number}", "")

    first = (await signed_in.get("/admin/audit")).text
    older = re.findall(r'href="([^"]+)"[^>]*>Older<', first)[0].replace("&amp;", "&")
    second = (await signed_in.get(older)).text

    assert len(actions(first)) == 50
    assert actions(second) == ["project.create"] * 20 + ["admin.login"]

"""Rules that a review would forget: no inline code, no idiom of htmx 2, every fragment a file that stands alone."""

import re

import pytest

from admin.rendering import FOLDER

TEMPLATES = sorted(FOLDER.rglob("*.html"))
BANNED = {
    "inline handlers": r"\shx-on|\son[a-z]+=",
    "code in attributes": r"\bjs:|javascript:",
    "inline style": r"\sstyle=|<style",
    "inline script": r"<script(?![^>]*\ssrc=)",
    "filters in triggers": r'hx-trigger="[^"]*\[',
    "names of htmx 2": r"hx-ext=|sse-connect=|sse-swap=|hx-disabled-elt|hx-vars|hx-params|hx-disinherit|hx-request=",
    "events of htmx 2": r"htmx:[a-z]+[A-Z]",
    "inherited attributes without saying so": r"<body[^>]*\shx-[a-z]+=",
    "unescaped output": r"\|\s*safe\b|autoescape\s+false",
}


def test_no_template_has_what_the_content_policy_or_htmx_4_refuses() -> None:
    found = [
        (str(path.relative_to(FOLDER)), why, hit)
        for path in TEMPLATES
        for why, pattern in BANNED.items()
        for hit in re.findall(pattern, path.read_text(encoding="utf-8"))
    ]

    assert len(TEMPLATES) > 30
    assert found == []


@pytest.mark.parametrize("pattern", BANNED.values(), ids=BANNED.keys())
def test_the_bans_would_notice(pattern: str) -> None:
    bad = """<body hx-target="#a"><a onclick="x"><i hx-on:click="js:x" style="a"><script>1</script>{{ a | safe }}
        <b hx-trigger="click[x]" hx-ext="sse"> htmx:afterSwap"""

    assert re.search(pattern, bad)


def test_the_script_listens_to_no_event_of_htmx_2() -> None:
    script = (FOLDER.parent / "static" / "admin.js").read_text(encoding="utf-8")

    assert not re.findall(r"htmx:[a-z]+[A-Z]", script)


def test_forms_that_change_something_carry_the_csrf_field() -> None:
    texts = [path.read_text(encoding="utf-8") for path in TEMPLATES]
    forms = [form for text in texts for form in re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL)]

    assert len(forms) > 12
    assert [form for form in forms if "ui.csrf(frame)" not in form] == []


def test_every_field_has_a_label_of_its_own() -> None:
    unlabelled = []
    for path in TEMPLATES:
        text = path.read_text(encoding="utf-8")
        fields = re.findall(r'<(?:input|select)[^>]*\sid="([^"]+)"', text)
        unlabelled += [(path.name, name) for name in fields if f'for="{name}"' not in text]

    assert unlabelled == []

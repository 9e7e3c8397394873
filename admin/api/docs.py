"""/manage/docs: openapi.json as a page to read. No script; the one style sheet is inline, by its hash."""

import base64
import hashlib
from html import escape
from typing import Any

import msgspec
from starlette.responses import Response

from admin.api.operation import Call, Operation

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
pre { overflow-x: auto; padding: 0.75rem; border: 1px solid GrayText; border-radius: 6px; }
section { border-top: 1px solid GrayText; padding-bottom: 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.75rem 0.25rem 0; }
nav ul { columns: 2; padding-left: 1rem; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_CSP = (
    f"default-src 'none'; style-src 'self' 'sha256-{_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


async def show_docs(call: Call) -> Response:
    return Response(
        page(call.describe()),
        media_type="text/html",
        headers={"content-security-policy": _CSP, "referrer-policy": "no-referrer"},
    )


def page(described: dict[str, Any]) -> str:
    operations = [
        (path, method, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    title = escape(described["info"]["title"])
    toc = "".join(
        f'<li><a href="#{escape(o["operationId"])}"><code>{_name(path, method)}</code></a></li>'
        for path, method, o in operations
    )
    sections = "".join(_operation(path, method, o) for path, method, o in operations)
    schemas = "".join(_schema(name, schema) for name, schema in described["components"]["schemas"].items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><header><h1>{title}</h1><p>{escape(described['info']['description'])} Send "
        "<code>Authorization: Bearer $MANAGEMENT_TOKEN</code>. For programs: "
        '<a href="/manage/openapi.json">openapi.json</a>.</p></header>'
        f"<nav><h2>Operations</h2><ul>{toc}</ul></nav><main>{sections}<h2>Schemas</h2>{schemas}</main></body></html>"
    )


def _name(path: str, method: str) -> str:
    return f"{escape(method.upper())} {escape(path)}"


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = [
        (p["name"], p["in"], p.get("description", _kind(p["schema"]))) for p in operation.get("parameters", ())
    ]
    answers = [(status, _refers(r), r["description"]) for status, r in operation["responses"].items()]
    body = _refers(operation["requestBody"]) if "requestBody" in operation else ""
    return (
        f'<section id="{escape(operation["operationId"])}"><h2><code>{_name(path, method)}</code></h2>'
        f"<p>{escape(operation['summary'])}.{_scope(operation)}</p>"
        + (f"<p>Body: {body}</p>" if body else "")
        + (_table(("Parameter", "In", ""), parameters) if parameters else "")
        + _table(("Status", "Body", ""), answers, is_html=1)
        + "</section>"
    )


def _scope(operation: dict[str, Any]) -> str:
    needed = [scope for way in operation.get("security", ()) for scope in way.get("managementToken", ())]
    return f" Scope: {escape(needed[0])}." if needed else ""


def _table(heads: tuple[str, ...], rows: list[tuple[str, str, str]], is_html: int = -1) -> str:
    """`is_html`: the column that is HTML already."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{c if n == is_html else escape(c)}</td>" for n, c in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _refers(holder: dict[str, Any]) -> str:
    """A link to the schema of a body or an answer."""
    for content in holder.get("content", {}).values():
        schema = content["schema"]
        name = schema.get("$ref", schema.get("items", {}).get("$ref", "")).rpartition("/")[2]
        if name:
            many = "list of " if "items" in schema else ""
            return f'{many}<a href="#schema-{escape(name)}">{escape(name)}</a>'
    return ""


def _kind(schema: dict[str, Any]) -> str:
    return str(schema.get("type", "")) or " or ".join(map(str, schema.get("enum", ())))


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()
    return (
        f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3><pre tabindex="0">{escape(text)}</pre></section>'
    )


OPERATIONS = (
    Operation(
        method="GET",
        path="/manage/docs",
        summary="This description, as a page",
        act=show_docs,
        media_type="text/html",
        is_open=True,
    ),
)

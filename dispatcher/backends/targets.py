"""Where backends send to: URLs and keys from the settings, checked before anything is sent.

Each function appends to `mistakes`, one clear line each, so that all are told at once. No value is repeated in them:
URLs carry keys, too.
"""

import re
from typing import Final
from urllib.parse import unquote

import httpx

from config.secret import Secret

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def url_in(setting: str, text: str | Secret | None, mistakes: list[str]) -> str:
    """An absolute http or https URL, without user and password; empty when there is a mistake."""
    value = (text.reveal() if isinstance(text, Secret) else text or "").strip()
    if not value:
        mistakes.append(f"{setting}: is required; give it the address to send to, https://...")
        return ""
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL:
        mistakes.append(f"{setting}: is no valid URL")
        return ""
    if url.scheme not in ("http", "https") or not url.host:
        mistakes.append(f"{setting}: must begin with http:// or https:// and name a host")
    elif url.userinfo:
        mistakes.append(f"{setting}: must not hold a user or password; they would end up in logs")
    elif url.fragment:
        mistakes.append(f"{setting}: must not have a #fragment; it is never sent")
    else:
        return str(url)
    return ""


def key_in(setting: str, key: Secret | None, mistakes: list[str]) -> Secret:
    """A secret that fits into a header."""
    if not key:
        mistakes.append(f"{setting}: is required")
        return Secret("")
    if not (key.reveal().isascii() and key.reveal().isprintable()):
        mistakes.append(f"{setting}: holds a character that no header can carry; was it pasted with a line break?")
    return key


def headers_in(setting: str, text: Secret | None, mistakes: list[str]) -> dict[str, str]:
    """`name=value,name=value`, percent-encoded where a value holds a comma, as in OTEL_EXPORTER_OTLP_HEADERS."""
    headers: dict[str, str] = {}
    for pair in (text.reveal() if text else "").split(","):
        name, equals, value = (piece.strip() for piece in pair.partition("="))
        if not pair.strip():
            continue
        value = unquote(value)
        if not equals or not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            mistakes.append(f"{setting}: must be name=value, separated by commas")
            return {}
        headers[name.lower()] = value
    return headers

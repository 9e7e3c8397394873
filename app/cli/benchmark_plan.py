"""What the options of `llm-proxy benchmark` mean: its plan, or one line on what is wrong with them."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from app.benchmark.plan import Plan, Target
from config.errors import ConfigError
from config.load import raw_environment

_QUESTION = "Say hello in one short sentence."


def plan_of(
    *,
    base_url: str,
    endpoint: str,
    token: str,
    method: str,
    body: bytes,
    headers: Sequence[str],
    direct: str | None,
    direct_key: str,
    requests: int | None,
    duration_s: float | None,
    concurrency: int,
    rate: float | None,
    warm_up: int,
    timeout_s: float,
) -> Plan:
    """Raises ConfigError."""
    given = [_header(text) for text in headers]
    if body and not any(name.lower() == "content-type" for name, _ in given):
        given.append(("content-type", "application/json"))
    targets = [Target("proxy", _url(base_url, "--base-url"), (*given, ("authorization", f"Bearer {token}")))]
    if direct:
        targets.append(Target("direct", _url(direct, "--direct"), (*given, ("authorization", f"Bearer {direct_key}"))))
    if not endpoint.startswith("/") or not endpoint.isascii() or not endpoint.isprintable() or " " in endpoint:
        raise ConfigError([f"--endpoint {endpoint!r} is no path; write it like /v1/chat/completions"])
    return Plan(
        targets=tuple(targets),
        method=method.upper(),
        endpoint=endpoint,
        body=body,
        concurrency=concurrency,
        requests=requests,
        duration_s=duration_s,
        rate=rate,
        warm_up=warm_up,
        timeout_s=timeout_s,
    )


def secret(given: str | None, variable: str) -> str:
    """Raises ConfigError."""
    found = given or raw_environment(frozenset({variable})).get(variable)
    if not found:
        raise ConfigError([f"{variable} is not set; set it, or name another variable"])
    if not found.isascii() or not found.isprintable():
        raise ConfigError([f"what {variable} holds cannot stand in a header"])
    return found


def question(file: Path | None, *, model: str, endpoint: str, stream: bool, method: str) -> bytes:
    """The file as it is, or a small chat. Raises ConfigError."""
    if file is not None:
        return file.read_bytes()
    if method.upper() in ("GET", "HEAD", "DELETE"):
        return b""
    chat: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": _QUESTION}]}
    if endpoint.partition("?")[0].endswith("/messages"):
        chat["max_tokens"] = 64
    if stream:
        chat["stream"] = True
        if endpoint.partition("?")[0].endswith("/chat/completions"):
            chat["stream_options"] = {"include_usage": True}  # else tokens a second are not told
    return msgspec.json.encode(chat)


def _url(text: str, option: str) -> str:
    try:
        parts = urlsplit(text)
        is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if not is_usable or parts.query or parts.fragment or parts.username:
        raise ConfigError([f"{option} {text!r} must be like https://host:port"])
    return text.rstrip("/")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.replace("-", "").isalnum() or not text.isascii() or not text.isprintable():
        raise ConfigError([f"--header {text!r} must be like `x-name: value`"])
    return name.strip().lower(), value.strip()

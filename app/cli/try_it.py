"""A curl line that works when pasted."""

import shlex

import msgspec

_MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}


def curl_line(url: str, token: str, provider: str, *, is_default: bool = True) -> str:
    """For `/v1` of the default provider; for another one below its name."""
    path = "/v1/chat/completions" if provider != "anthropic" else "/v1/messages"
    body: dict[str, object] = {
        "model": _MODELS.get(provider, "gpt-4.1-mini"),
        "messages": [{"role": "user", "content": "hello"}],
    }
    if provider == "anthropic":
        body["max_tokens"] = 100
        header = f"x-api-key: {token}"
    else:
        header = f"Authorization: Bearer {token}"
    prefix = "" if is_default else f"/{provider}"
    return (
        f"curl -s {url}{prefix}{path} -H {shlex.quote(header)} -H 'Content-Type: application/json' "
        f"-d {shlex.quote(msgspec.json.encode(body).decode())}"
    )

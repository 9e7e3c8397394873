"""A conversation over chat completions, streamed or whole."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import msgspec

from app.cli.failures import Failure
from app.cli.options import settings_with
from config.addresses import parse
from config.errors import ConfigError
from config.load import raw_environment

_MODEL = "gpt-4.1-mini"
_TIMEOUT = httpx.Timeout(10.0, read=300.0)  # reasoning models may think for minutes


def connect(proxy: str | None, token: str | None) -> httpx.Client:
    """What is not given comes from the environment and `.env`. Raises ConfigError."""
    environ = raw_environment(frozenset({"PROXY_URL", "PROXY_TOKEN"}))
    url = proxy or environ.get("PROXY_URL") or parse(settings_with({}).listen_addr, "LISTEN_ADDR").url
    token = token or environ.get("PROXY_TOKEN")
    if not token:
        raise ConfigError(["no token: give --token or set PROXY_TOKEN; `llm-proxy manage token create` makes one"])
    try:
        return httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT, trust_env=False
        )
    except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
        raise ConfigError([f"--proxy or --token cannot be used ({error})"]) from error


class Conversation:
    def __init__(
        self, client: httpx.Client, *, model: str | None, system: str | None, options: Mapping[str, object | None]
    ) -> None:
        self._client = client
        self._model = model or raw_environment(frozenset({"MODEL"})).get("MODEL", _MODEL)
        self._messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
        self._options = {name: value for name, value in options.items() if value is not None}

    def ask(self, message: str) -> Iterator[str]:
        """The answer's pieces as they come. Raises Failure."""
        body, pieces = self._body(message, stream=True), []
        with _OneLineErrors(self._client):
            with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.is_error:
                    response.read()
                    raise Failure(_refusal(response))
                for piece in _pieces(response.iter_lines()):
                    pieces.append(piece)
                    yield piece
        self._remember(message, "".join(pieces))

    def ask_whole(self, message: str) -> dict[str, Any]:
        """The provider's whole answer. Raises Failure."""
        with _OneLineErrors(self._client):
            response = self._client.post("/v1/chat/completions", json=self._body(message, stream=False))
            if response.is_error:
                raise Failure(_refusal(response))
            answer: dict[str, Any] = response.json()
        self._remember(message, _text(answer))
        return answer

    def ask_text(self, message: str) -> str:
        """Raises Failure."""
        return _text(self.ask_whole(message))

    def _body(self, message: str, *, stream: bool) -> dict[str, object]:
        messages = [*self._messages, {"role": "user", "content": message}]
        return {"model": self._model, "messages": messages, "stream": stream, **self._options}

    def _remember(self, message: str, answer: str) -> None:
        self._messages += [{"role": "user", "content": message}, {"role": "assistant", "content": answer}]


class _OneLineErrors:
    def __init__(self, client: httpx.Client) -> None:
        self._url = client.base_url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpx.UnsupportedProtocol):
            raise ConfigError([f"--proxy {str(self._url)!r} must begin with http:// or https://"]) from error
        if isinstance(error, httpx.HTTPError):
            reason = str(error) or type(error).__name__
            raise Failure(
                f"{self._url} does not answer ({reason}); start `llm-proxy server` or give --proxy"
            ) from error
        if isinstance(error, ValueError | LookupError | TypeError):
            raise Failure(f"{self._url} does not answer like chat completions ({error})") from error


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    """The text in a stream of server-sent events."""
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = msgspec.json.decode(data)
        if "error" in event:
            raise Failure(f"the answer was cut: {_error_text(event)}")
        for choice in event.get("choices", ()):
            if text := choice.get("delta", {}).get("content"):
                yield text


def _text(answer: Mapping[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"] or "")


def _refusal(response: httpx.Response) -> str:
    try:
        return f"{response.status_code}: {_error_text(response.json())}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code}: {response.reason_phrase}"


def _error_text(body: Mapping[str, Any]) -> str:
    error = body["error"]
    return str(error["message"] if isinstance(error, dict) else error)

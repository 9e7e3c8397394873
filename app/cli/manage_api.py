"""A client of /manage for the commands: one answer or one clear line, never a traceback."""

from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from app.cli.failures import Failure
from app.cli.options import settings_with
from config.addresses import parse
from config.errors import ConfigError

_TIMEOUT_S = 30.0
_PAGE_ROWS = 500  # the most that one page gives


class Refused(Failure):
    """The server said no. `faults` has what is wrong by place, where it told."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(_refusal(response))
        self.status = response.status_code
        self.faults = _faults(response)


class ManageApi:
    def __init__(self, base_url: str | None, token: str | None, *, reason: str | None = None) -> None:
        """What is not given comes from the settings; `reason` is for the audit log. Raises ConfigError."""
        if base_url is None or token is None:
            settings = settings_with({})
            base_url = base_url or parse(settings.listen_addr, "LISTEN_ADDR").url
            token = token or (settings.management_token.reveal() if settings.management_token else None)
        if not token:
            raise ConfigError(["MANAGEMENT_TOKEN is not set; set it or give --management-token"])
        self._base_url = base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}", "User-Agent": "llm-proxy-cli"}
        try:
            # trust_env: a proxy meant for the internet is not asked for our own server
            self._client = httpx.Client(base_url=self._base_url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)
        except (httpx.InvalidURL, UnicodeEncodeError, ValueError) as error:
            raise ConfigError([f"--manage-api-base-url or --management-token cannot be used ({error})"]) from error
        if reason:  # people's words: UTF-8
            self._client.headers = httpx.Headers([*self._client.headers.raw, (b"X-Audit-Reason", _one_line(reason))])

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The decoded answer; None when it is empty. Raises Failure."""
        return self._decoded(self._send(method, path, body=body))

    def rows(self, path: str, params: Mapping[str, str], limit: int | None) -> Iterator[dict[str, Any]]:
        """A list, page after page, at most `limit` of it. Raises Failure."""
        left, query = limit, {**params, "limit": str(min(limit or _PAGE_ROWS, _PAGE_ROWS))}
        while True:
            response = self._send("GET", path, params=query)
            page = self._decoded(response)[:left]
            yield from page
            cursor = response.headers.get("x-next-cursor")
            left = None if left is None else left - len(page)
            if not cursor or left == 0:
                return
            query["cursor"] = cursor

    def _send(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, params: Mapping[str, str] | None = None
    ) -> httpx.Response:
        try:
            response = self._client.request(method, path, json=body, params=params)
        except httpx.UnsupportedProtocol as error:
            raise ConfigError(
                [f"--manage-api-base-url {self._base_url!r} must begin with http:// or https://"]
            ) from error
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Failure(
                f"{self._base_url} does not answer ({reason}); start `llm-proxy server` or give --manage-api-base-url"
            ) from error
        if response.is_error:
            raise Refused(response)
        return response

    def _decoded(self, response: httpx.Response) -> Any:
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise Failure(f"{response.url} does not answer like /manage; is it llm-proxy?") from error


def _one_line(text: str) -> bytes:
    return " ".join(text.split()).encode()


def _faults(response: httpx.Response) -> dict[str, str]:
    try:
        return dict(response.json().get("fields", {}))
    except (ValueError, AttributeError, TypeError):
        return {}


def _refusal(response: httpx.Response) -> str:
    try:
        said = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        said = response.reason_phrase
    if response.status_code == 401:
        return f"{response.status_code}: {said}; is it the server's MANAGEMENT_TOKEN?"
    return f"{response.status_code}: {said}"

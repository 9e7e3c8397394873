"""Gentle demo traffic: about one call a second from several projects, models and end users, some of them refused.

First a short burst, so that a page opened at once is not empty. What goes wrong here is of no interest: the proxy has
recorded it, and that is what one wants to see.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from typing import Any

import httpx
from msgspec import Struct

from app.demo.provider import WEATHER
from config.ids import new_token

_BURST = 25
_BURST_PAUSE_S = 0.12
_PAUSE_S = (0.4, 1.6)
_TIMEOUT_S = 30.0
_AT_ONCE = 8

_QUESTIONS = (
    "Where is my order?",
    "Summarise the last meeting in three points.",
    "How do I change the delivery address?",
    "Write a friendly reply to a customer whose parcel is late.",
    "Which of our plans fits a team of five?",
    "Translate to German: the invoice is attached.",
    "What does error E42 on the display mean?",
    "Find contradictions between these two paragraphs.",
    "Give me a SQL query for the ten newest orders.",
    "Is the warranty still valid after two years?",
)
_CONTEXT = "You are a careful assistant of a shop. Answer briefly, and say so when you do not know. " * 12


class Tokens(Struct, frozen=True):
    """What the traffic may use."""

    by_project: dict[str, str]
    """Name of a project to a token of it."""
    revoked: str
    limited: str
    """A token with a quota, which is used up after a while."""


class Traffic:
    def __init__(self, url: str, tokens: Tokens, simulated: Sequence[str], seed: int = 7) -> None:
        """`simulated` are the providers that the demo plays; no other one is called, since that could cost money."""
        self._url = url
        self._tokens = tokens
        self._rng = random.Random(seed)
        self._calls = [call for provider, call in self._all_calls() if provider in simulated]
        self._at_once = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> None:
        """Until cancelled."""
        headers = {WEATHER: "changing", "User-Agent": "llm-proxy-demo/1.0"}
        async with httpx.AsyncClient(
            base_url=self._url, headers=headers, timeout=_TIMEOUT_S, trust_env=False
        ) as client:
            async with asyncio.TaskGroup() as tasks:
                number = 0
                while True:
                    number += 1
                    await self._at_once.acquire()
                    tasks.create_task(self._send(client), name=f"demo call {number}")
                    await asyncio.sleep(_BURST_PAUSE_S if number < _BURST else self._rng.uniform(*_PAUSE_S))

    async def _send(self, client: httpx.AsyncClient) -> None:
        """One call; as the proxy has recorded whatever happened, nothing is reported here."""
        method, path, headers, body = self._next_call()
        try:
            with contextlib.suppress(httpx.HTTPError):
                async with client.stream(method, path, headers=headers, json=body) as response:
                    async for _ in response.aiter_raw():
                        pass
        finally:
            self._at_once.release()

    def _next_call(self) -> tuple[str, str, dict[str, str], dict[str, Any] | None]:
        method, path, body = self._rng.choice(self._calls)
        if body is not None:
            body = {**body, **self._asked(path)}
        token = self._token()
        headers = {"x-api-key": token} if path.startswith("/anthropic") else {"Authorization": f"Bearer {token}"}
        return method, path, headers, body

    def _token(self) -> str:
        """Mostly a good one."""
        dice = self._rng.random()
        if dice < 0.02:
            return new_token()  # one that nobody has made
        if dice < 0.04:
            return self._tokens.revoked
        if dice < 0.12:
            return self._tokens.limited
        return self._rng.choice(list(self._tokens.by_project.values()))

    def _asked(self, path: str) -> dict[str, Any]:
        """The question, put as the endpoint wants it, and whose it is."""
        question, user = self._rng.choice(_QUESTIONS), f"customer-{self._rng.randint(1, 12)}"
        if path.startswith("/anthropic"):
            return {"messages": [{"role": "user", "content": question}], "metadata": {"user_id": user}}
        if path.endswith(("/responses", "/embeddings")):
            return {"input": question, "user": user}
        messages = [{"role": "user", "content": question}]
        if self._rng.random() < 0.5:
            messages.insert(0, {"role": "system", "content": _CONTEXT})
        return {"messages": messages, "user": user}

    @staticmethod
    def _all_calls() -> list[tuple[str, tuple[str, str, dict[str, Any] | None]]]:
        """How often each stands here is how often it is made."""
        chat, streamed = "/openai/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": True}}
        openai: list[tuple[str, str, dict[str, Any] | None]] = [
            *[("POST", chat, {"model": "gpt-4.1-mini", **streamed})] * 4,
            *[("POST", chat, {"model": "gpt-4.1-mini"})] * 3,
            *[("POST", chat, {"model": "gpt-4.1", **streamed})] * 2,
            *[("POST", "/openai/v1/responses", {"model": "gpt-5-mini", "stream": True})] * 2,
            ("POST", "/openai/v1/responses", {"model": "gpt-5-mini"}),
            *[("POST", "/openai/v1/embeddings", {"model": "text-embedding-3-small"})] * 2,
            ("GET", "/openai/v1/models", None),
            ("GET", "/openai/v1/organization/users", None),  # not on the allow-list
        ]
        anthropic: list[tuple[str, str, dict[str, Any] | None]] = [
            *[("POST", "/anthropic/v1/messages", {"model": "claude-haiku-4-5", "max_tokens": 300, "stream": True})] * 3,
            *[("POST", "/anthropic/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 300})] * 2,
        ]
        return [*(("openai", call) for call in openai), *(("anthropic", call) for call in anthropic)]

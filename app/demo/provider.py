"""The built-in demo provider: speaks OpenAI's and Anthropic's shapes, streams, and knows nothing.

A call with the header `x-demo-weather` may be slow, refused (429) or fail (500), as real providers are at times; a
call without it always works, so that a newcomer's first line does.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from app.demo import anthropic_shape as anthropic
from app.demo import openai_shape as openai

Json = dict[str, Any]
WEATHER = "x-demo-weather"
API_KEY = "sk-demo-provider-key-of-the-built-in-provider"
_THINKING_S = (0.03, 0.25)
_SLOW_S = (0.8, 2.5)
_BETWEEN_PIECES_S = 0.02


class Outcome(msgspec.Struct, frozen=True):
    status: int
    thinking_s: float


class Provider:
    def __init__(self, seed: int = 1, pace: float = 1.0) -> None:
        """`pace` multiplies every pause; 0 answers at once."""
        self._rng = random.Random(seed)
        self._pace = pace

    def app(self) -> Starlette:
        chat = self._call(openai.chat, openai.chat_events)
        responses = self._call(openai.response, openai.response_events)
        messages = self._call(anthropic.message, anthropic.message_events)
        return Starlette(
            routes=[
                Route("/v1/chat/completions", chat, methods=["POST"]),
                Route("/v1/responses", responses, methods=["POST"]),
                Route("/v1/embeddings", self._call(openai.embeddings, None), methods=["POST"]),
                Route("/v1/messages", messages, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/v1/models/{name}", self._model),
            ]
        )

    def weather(self, is_changing: bool) -> Outcome:
        """About one call in ten is slow, one in thirty refused, one in fifty fails."""
        if not is_changing:
            return Outcome(200, _THINKING_S[0])
        dice = self._rng.random()
        if dice < 0.02:
            return Outcome(500, self._rng.uniform(*_THINKING_S))
        if dice < 0.053:
            return Outcome(429, 0.01)
        return Outcome(200, self._rng.uniform(*(_SLOW_S if dice < 0.15 else _THINKING_S)))

    def _call(
        self, whole: Callable[[Json, str], Json], events: Callable[[Json, str], Iterator[Json]] | None
    ) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            if not _has_key(request):
                return _failed(request, 401)
            try:
                call = msgspec.json.decode(await request.body(), type=dict[str, Any])
            except msgspec.DecodeError:
                return _failed(request, 400)
            outcome = self.weather(WEATHER in request.headers)
            await asyncio.sleep(outcome.thinking_s * self._pace)
            if outcome.status != 200:
                return _failed(request, outcome.status)
            id_ = f"{self._rng.getrandbits(64):016x}"
            headers = {"x-request-id": f"req_{id_}"}
            if events is not None and call.get("stream") is True:
                stream = self._sse(events(call, id_), ends_with_done=events is openai.chat_events)
                return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
            return JSONResponse(whole(call, id_), headers=headers)

        return endpoint

    async def _models(self, request: Request) -> Response:
        if not _has_key(request):
            return _failed(request, 401)
        return JSONResponse(anthropic.models() if _is_anthropic(request) else openai.models())

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in openai.MODELS:
            return _failed(request, 404)
        return JSONResponse(openai.model(name))

    async def _sse(self, events: Iterator[Json], *, ends_with_done: bool) -> AsyncIterator[bytes]:
        for event in events:
            name = f"event: {event['type']}\n" if "type" in event else ""
            yield f"{name}data: {msgspec.json.encode(event).decode()}\n\n".encode()
            await asyncio.sleep(_BETWEEN_PIECES_S * self._pace)
        if ends_with_done:
            yield b"data: [DONE]\n\n"


_ERRORS = {
    400: ("The body is not a JSON object.", "invalid_request_error", None),
    401: ("This key is not the demo provider's.", "authentication_error", "invalid_api_key"),
    404: ("There is no such model.", "not_found_error", "model_not_found"),
    429: ("The demo provider is busy; try again in a moment.", "rate_limit_error", "rate_limit_exceeded"),
    500: ("The demo provider had an accident.", "api_error", None),
}


def _failed(request: Request, status: int) -> Response:
    message, kind, code = _ERRORS[status]
    body = anthropic.error(message, kind) if _is_anthropic(request) else openai.error(message, kind, code)
    return JSONResponse(body, status_code=status, headers={"retry-after": "1"} if status == 429 else None)


def _is_anthropic(request: Request) -> bool:
    return request.url.path == "/v1/messages" or "anthropic-version" in request.headers


def _has_key(request: Request) -> bool:
    shown = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
    return shown == API_KEY

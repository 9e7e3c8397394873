"""A whole admin on its own SQLite files, called without a socket, and something to look at in it."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from msgspec.structs import replace

from admin.acts.actor import Actor
from admin.acts.api_keys import add_api_key
from admin.acts.projects import create_project
from admin.acts.tokens import create_token
from admin.assets import Assets
from admin.main import build_app, make_parts
from admin.parts import Parts
from admin.rendering import Templates
from bus.bus import BusStats, GroupStats
from config.clock import Clock, SystemClock
from config.ids import new_id
from config.secret import Secret
from config.settings import Settings
from sql import migrate
from sql.repositories import requests, tokens
from sql.rows import BodyRow, ProjectRow, RequestRow, TokenRow, TokenUsage
from sql.sealing import new_key
from sql.stores import Stores

TOKEN = "the-management-token-of-this-test"
CLOCK = SystemClock()
ORIGIN = "http://admin.test"
ACTOR = Actor(name="management_token", client_ip="127.0.0.1", request_id="seed-0001", method="POST", path="/seed")
PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial", "Sec-Fetch-Site": "same-origin"}
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')


def site_settings(folder: Path, **changes: Any) -> Settings:
    settings = Settings(
        data_dir=str(folder),
        database_timeout_ms=60_000,
        encryption_key=Secret(new_key()),
        management_token=Secret(TOKEN),
        listen_addr="127.0.0.1:8080",
    )
    return replace(settings, **changes)


class Site:
    """`client` keeps cookies like a browser and follows no redirect."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.app = build_app(parts)
        self.client = self.new_client()
        self.csrf = ""

    def new_client(self, peer: str = "127.0.0.1") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app, client=(peer, 50_000), raise_app_exceptions=True)
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, timeout=60)

    @property
    def stores(self) -> Stores:
        return self.parts.stores

    async def sign_in(self) -> None:
        reply = await self.post("/admin/sign-in", {"token": TOKEN})
        assert reply.status_code == 303, reply.text
        page = await self.client.get("/admin/help")
        self.csrf = _CSRF.findall(page.text)[0]

    async def post(
        self, path: str, fields: Mapping[str, str] | None = None, *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """As our own form does."""
        data = {"csrf": self.csrf, **(fields or {})}
        return await self.client.post(path, data=data, headers={"Origin": ORIGIN, **(headers or {})})

    async def get(self, path: str, *, is_partial: bool = False) -> httpx.Response:
        return await self.client.get(path, headers=PARTIAL if is_partial else {})

    async def close(self) -> None:
        await self.client.aclose()
        await self.stores.close()


class TellingBus:
    """Only the question that the keeper asks; the bus itself has its own tests."""

    async def stats(self) -> BusStats:
        group = GroupStats(name="database", pending=3, lag=12_345, oldest_ms=90_000, dead=2, delivered=9)
        return BusStats(entries=77, bytes=2_048, appended=100, groups=(group,))


async def open_site(settings: Settings, clock: Clock) -> Site:
    parts = make_parts(settings, clock)
    await migrate.up(parts.stores)
    # Compiling the templates is most of the time that an admin takes to start.
    return Site(replace(parts, templates=_templates()))


@cache
def _templates() -> Templates:
    return Templates(Assets())


async def project(
    stores: Stores, name: str = "Support bot", key: str = "sk-provider-key-of-this-test", clock: Clock = CLOCK
) -> ProjectRow:
    return await create_project(
        stores, clock, ACTOR, name=name, api_key=Secret(key) if key else None, provider="openai"
    )


async def token(
    stores: Stores, project_id: str, *, max_requests: int | None = None, clock: Clock = CLOCK
) -> tuple[TokenRow, str]:
    return await create_token(
        stores, clock, ACTOR, project_id=project_id, duration_ms=86_400_000, max_requests=max_requests
    )


def request_row(number: int = 0, *, clock: Clock = CLOCK, **changes: Any) -> RequestRow:
    """A successful chat call, `number` seconds ago."""
    row = RequestRow(
        event_id=new_id(),
        request_id=f"req-{number:06}",
        accepted_at_ms=clock.now_ms() - number * 1000,
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        method="POST",
        path="/v1/chat/completions",
        status=200,
        code="",
        client_ip="10.0.0.7",
        user_agent="OpenAI/Python 3.54.0",
        project_id="",
        token_id="",
        organisation="",
        session_id="",
        conversation_id="conv-1",
        end_user="user-17",
        provider="openai",
        dialect="openai",
        model="gpt-4.1-mini",
        response_model="gpt-4.1-mini-2026-04-14",
        response_id="chatcmpl-123",
        input_tokens=812,
        cache_read_tokens=1024,
        cache_write_tokens=0,
        output_tokens=96,
        reasoning_tokens=40,
        audio_input_tokens=None,
        audio_output_tokens=None,
        cost_microusd=None,
        upstream_head_us=310_000,
        first_byte_us=340_000,
        last_byte_us=1_240_000,
        overhead_us=240,
        request_bytes=4_210,
        response_bytes=18_340,
        streamed=True,
        cut="",
        cached=False,
        attempts=1,
    )
    return replace(row, **changes)


async def seed(stores: Stores, clock: Clock, traffic: int = 60) -> dict[str, str]:
    """Projects, tokens in every state and some traffic; ids by name for the pages to be opened."""
    support = await project(stores, "Support bot", "sk-proj-3kd92mmq81kd02kd8s", clock)
    await add_api_key(
        stores, clock, ACTOR, support.id, provider="anthropic", key=Secret("sk-ant-api03-92kdk20dkq"), weight=3
    )
    others = [
        await project(stores, name, "", clock) for name in ("Search assistant", "Code review", "Data team notebooks")
    ]
    used, _ = await token(stores, support.id, max_requests=1000, clock=clock)
    full, _ = await token(stores, support.id, max_requests=40, clock=clock)
    revoked, _ = await token(stores, others[0].id, clock=clock)
    await tokens.revoke(stores.main, revoked.id, clock.now_ms())
    usages = [TokenUsage(id=used.id, requests=640, cache_hits=12, last_used_at_ms=clock.now_ms())]
    usages.append(TokenUsage(id=full.id, requests=40, cache_hits=0, last_used_at_ms=clock.now_ms() - 7_200_000))
    await tokens.add_usage(stores.main, usages)
    rows = [_traffic(number, support, others[0], used.id, clock) for number in range(traffic)]
    body = b'{"model":"gpt-4.1-mini","messages":[{"role":"user","content":"Where is my parcel?"}],"stream":true}'
    reply = b'data: {"choices":[{"delta":{"content":"It"}}]}\n\ndata: {"choices":[{"delta":{"content":" left"}}]}\n\n'
    await requests.insert_many(stores.records, rows, _bodies(rows[0].event_id, body, reply))
    return {"project": support.id, "token": used.id, "request": rows[0].event_id}


def _bodies(event_id: str, body: bytes, reply: bytes) -> list[BodyRow]:
    kinds = (("request", body, "application/json", False), ("response", reply, "text/event-stream", True))
    return [
        BodyRow(event_id=event_id, side=side, data=data, content_type=kind, content_encoding="", truncated=cut)
        for side, data, kind, cut in kinds
    ]


def _traffic(number: int, support: ProjectRow, other: ProjectRow, token_id: str, clock: Clock) -> RequestRow:
    """Most go well; every 17th is refused, every 23rd fails, every 31st is cut."""
    row = request_row(number * 11, clock=clock, project_id=support.id, token_id=token_id)
    if number % 3 == 0:
        row = replace(
            row,
            project_id=other.id,
            provider="anthropic",
            dialect="anthropic",
            path="/anthropic/v1/messages",
            model="claude-haiku-4-5",
            response_model="claude-haiku-4-5",
            streamed=False,
            last_byte_us=640_000 + number * 1000,
        )
    if number % 17 == 5:
        return replace(row, status=401, code="token_expired", upstream_head_us=None, last_byte_us=420, attempts=0)
    if number % 23 == 4:
        return replace(row, status=504, code="upstream_timeout", input_tokens=None, output_tokens=None)
    return replace(row, cut="client") if number % 31 == 7 else row

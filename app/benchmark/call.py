"""One call and what was seen of it. Times are seconds of the benchmark's own clock, from its start."""

import time
from typing import Final

import msgspec
from msgspec import Struct

from app.benchmark.plan import Plan, Side, Target
from app.errors import Refusal
from app.upstreams.upstream import Upstream, UpstreamRequest
from bus.transcript.reply import ReplyReader

_KEPT_BYTES: Final = 16 * 1024  # of an answer that refuses: its code lies in there


class Sample(Struct, frozen=True, gc=False):
    side: Side
    intended_s: float
    """When it was due: latency counts from here, so that a target that makes others wait is seen to."""
    latency_ms: float
    ttft_ms: float | None
    """To the first bytes of the body; None when there were none."""
    status: int
    """0: no answer."""
    code: str
    """Of the proxy's error object, or what broke on the way; empty when all went well."""
    completion_tokens: int
    """0 also where nothing was told."""
    size: int

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 400 and not self.code


class Caller:
    """Asks one target the plan's question."""

    def __init__(self, plan: Plan, target: Target, upstream: Upstream) -> None:
        self._plan, self._upstream = plan, upstream
        self.side: Side = target.side
        heads = [(name.lower().encode(), value.encode("latin-1")) for name, value in target.headers]
        if plan.body:
            heads += [(b"content-length", str(len(plan.body)).encode())]
        self._request = UpstreamRequest(method=plan.method, target=plan.endpoint, headers=heads, body=plan.body or None)

    async def call(self, intended_s: float, began: float) -> Sample:
        """`began` is the benchmark's start on `time.perf_counter`. Never raises for what the target does."""
        seen = _Seen()
        try:
            await self._ask(seen)
        except Refusal as error:
            seen.code = error.code
        late_s = time.perf_counter() - began - intended_s
        return Sample(
            side=self.side,
            intended_s=intended_s,
            latency_ms=late_s * 1000,
            ttft_ms=None if seen.first_at is None else (seen.first_at - began - intended_s) * 1000,
            status=seen.status,
            code=seen.code,
            completion_tokens=seen.completion_tokens,
            size=seen.size,
        )

    async def _ask(self, seen: "_Seen") -> None:
        response = await self._upstream.open(self._request)
        try:
            seen.status = response.status
            heads = {name.lower(): value.decode("latin-1") for name, value in response.headers}
            told = (heads.get(b"content-type", ""), heads.get(b"content-encoding", ""))
            reader = ReplyReader(self._plan.dialect, self._plan.endpoint.partition("?")[0], *told)
            kept = b""
            while piece := await response.read():
                seen.first_at = seen.first_at or time.perf_counter()
                seen.size += len(piece)
                if response.status >= 400:
                    kept = (kept + piece)[:_KEPT_BYTES]
                else:
                    reader.feed(piece)
        finally:
            await response.close()
        usage = reader.close().usage
        seen.completion_tokens = usage.completion_tokens if usage else 0
        if response.status >= 400:
            seen.code = _code_in(kept) or f"http_{response.status}"


class _Seen(Struct):
    status: int = 0
    code: str = ""
    first_at: float | None = None
    size: int = 0
    completion_tokens: int = 0


def _code_in(body: bytes) -> str:
    """The proxy's errors have theirs at the top, a provider's own lies in `error`."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    inner = told.get("error") if isinstance(told, dict) else None
    code = (told.get("code") if isinstance(told, dict) else "") or (
        inner.get("code") if isinstance(inner, dict) else ""
    )
    return code[:64] if isinstance(code, str) else ""

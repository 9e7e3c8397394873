"""Limits as clients meet them, in a real worker, counted in Redis and by the owner process."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from config.policy import Policy
from sql.repositories import requests
from tests.support import rows
from tests.support.limits import Counting, Limited
from tests.support.proxy import Proxy, now_ms
from tests.support.redis_server import RedisServer
from tests.support.upstream import Received, Upstream, Wire, sse
from tests.support.waiting import eventually

CHAT = "/v1/chat/completions"
USAGE = {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30}


def limit(**more: Any) -> dict[str, Any]:
    return {"limits": [{"name": "fair share", **more}]}


def chat(model: str = "gpt-4o", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 100, **more}


def answers(upstream: Upstream, usage: dict[str, Any] | None = USAGE, status: int = 200) -> None:
    body = json.dumps({"model": "gpt-4o", "choices": [], **({"usage": usage} if usage else {})}).encode()

    @upstream.on(CHAT)
    async def answer(received: Received, wire: Wire) -> None:
        await wire.reply(status, body, (b"content-type", b"application/json"))


def call(proxy: Proxy, body: dict[str, Any] | None = None, token: str = "") -> httpx.Response:
    headers = {"authorization": f"Bearer {token or proxy.token}"}
    return httpx.post(proxy.url + CHAT, json=chat() if body is None else body, headers=headers, timeout=60)


@contextmanager
def open_stream(proxy: Proxy, upstream: Upstream) -> Iterator[None]:
    """A stream that goes on until the client leaves."""

    @upstream.on("/v1/stays/open")
    async def answer(received: Received, wire: Wire) -> None:
        await wire.start_chunked((b"content-type", b"text/event-stream"))
        await wire.chunk(sse('{"choices": []}'))
        await wire.gone()

    with proxy.client() as client, client.stream("POST", "/v1/stays/open", json=chat(stream=True)) as response:
        pieces = response.iter_bytes()  # kept: httpx closes the response with it
        next(pieces)
        yield


def test_exactly_as_many_pass_over_two_workers_as_the_limit_says(limited: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited.start(limit(measure="requests", most=12, window="1h"), LLM_PROXY_WORKERS="2")
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: call(proxy).status_code, range(30)))
    assert (statuses.count(200), statuses.count(429)) == (12, 18)
    assert len(upstream.received) == 12


def test_a_refusal_says_which_limit_when_to_come_back_and_in_the_words_of_the_sdk(
    limited: Limited, upstream: Upstream
) -> None:
    answers(upstream)
    proxy = limited.start(limit(measure="requests", most=1, window="1h", per=["token"]))
    passed, refused = call(proxy), call(proxy)
    assert (passed.headers["ratelimit-remaining"], passed.headers["x-ratelimit-limit-requests"]) == ("0", "1")
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert error["code"] == "rate_limit_exceeded"
    assert error["message"].startswith("The limit 'fair share' (1 requests per 1h for each token) is reached")
    assert 3590 < int(refused.headers["retry-after"]) <= 3660
    assert refused.headers["ratelimit-policy"] == '"fair share";q=1;w=3600'
    assert refused.headers["x-ratelimit-reset-requests"].startswith(("59m", "1h"))
    assert proxy.event_of(refused).code == "rate_limit_exceeded"
    _, other_token = proxy.new_token()
    assert call(proxy, token=other_token).status_code == 200


def test_what_was_reserved_is_settled_to_what_the_answer_used(limited: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited.start(limit(measure="tokens", most=1000, window="1h"))
    taken = len(json.dumps(chat(), separators=(",", ":"))) // 4 + 100
    assert call(proxy).headers["ratelimit-remaining"] == str(1000 - taken)
    assert call(proxy).headers["ratelimit-remaining"] == str(1000 - 30 - taken)


def test_a_call_that_the_upstream_never_answered_gives_everything_back(limited: Limited, upstream: Upstream) -> None:
    @upstream.on(CHAT)
    async def cut(received: Received, wire: Wire) -> None:
        wire.cut()

    policy = {"limits": [
        {"name": "requests", "measure": "requests", "most": 1, "window": "1h"},
        {"name": "tokens", "measure": "tokens", "most": 500, "window": "1h"},
    ]}  # fmt: skip
    proxy = limited.start(policy)
    assert call(proxy).status_code == 502
    answers(upstream)
    assert call(proxy).status_code == 200
    assert call(proxy).status_code == 429


def test_seats_are_free_again_when_a_reply_has_ended_and_when_its_client_has_left(
    limited: Limited, upstream: Upstream
) -> None:
    answers(upstream)
    proxy = limited.start(limit(measure="parallel", most=1))
    assert [call(proxy).status_code for _ in range(3)] == [200, 200, 200]
    with open_stream(proxy, upstream):
        refused = call(proxy)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    eventually(lambda: call(proxy).status_code == 200)


@pytest.mark.slow
def test_seats_of_a_worker_that_was_killed_are_free_after_its_hold(limited: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited.start(limit(measure="parallel", most=1), LLM_PROXY_LIMITS_HOLD_MS="3000")
    with open_stream(proxy, upstream):
        proxy.kill()
    proxy.start()
    eventually(lambda: call(proxy).status_code == 200)


def test_seats_of_a_stream_that_takes_long_stay_held(
    limited_by_redis: Limited, own_redis: RedisServer, upstream: Upstream
) -> None:
    proxy = limited_by_redis.start(limit(measure="parallel", most=1), LLM_PROXY_LIMITS_HOLD_MS="3000")

    def held_until() -> float:
        client: Any = own_redis.client()
        (holds,) = client.keys("{llm-proxy-limits}:fair share*:h")
        ((_, until),) = client.zrange(holds, 0, -1, withscores=True)
        return float(until)

    with open_stream(proxy, upstream):
        first = held_until()
        eventually(lambda: held_until() > first)


def test_a_budget_is_spent_by_what_answers_cost_and_then_refuses(limited: Limited, upstream: Upstream) -> None:
    answers(upstream, {"prompt_tokens": 1_000_000, "completion_tokens": 0, "total_tokens": 1_000_000})
    proxy = limited.start(limit(measure="cost", most=5, window="month", per=["project"]))
    statuses = [call(proxy).status_code for _ in range(3)]  # 2.50 USD each
    assert statuses == [200, 200, 429]
    refused = call(proxy)
    assert refused.json()["error"]["code"] == "budget_exceeded"
    assert "5 USD per month for each project" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) > 0


def test_a_new_budget_knows_what_its_period_has_cost_already(limited: Limited, upstream: Upstream) -> None:
    answers(upstream)
    limited.proxy.prepare()
    spent = rows.request(project_id=limited.proxy.project_id, accepted_at_ms=now_ms(), cost_microusd=4_999_990)
    limited.proxy.run(lambda stores: requests.insert_many(stores.records, [spent], []))
    proxy = limited.start(limit(measure="cost", most=5, window="lifetime", per=["project"]))
    assert call(proxy, chat(max_tokens=1)).status_code == 429
    assert call(proxy, chat(max_tokens=1)).json()["error"]["code"] == "quota_exceeded"


def test_while_nobody_counts_each_worker_keeps_to_its_share_and_says_so(limited: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited.start(limit(measure="requests", most=2, window="1h"), LLM_PROXY_LIMITS_TIMEOUT_MS="300")
    limited.counting.freeze(is_frozen=True)
    replies = [call(proxy) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert {reply.headers["x-llm-proxy-limits"] for reply in replies} == {"share"}
    limited.counting.freeze(is_frozen=False)
    eventually(lambda: "x-llm-proxy-limits" not in call(proxy).headers)


def test_while_nobody_counts_a_limit_may_be_exact_or_nothing(limited: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited.start(limit(measure="requests", most=2, window="1h", when_away="closed"))
    limited.counting.kill()
    refused = call(proxy)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")


def test_while_nobody_counts_a_limit_may_be_open(limited: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited.start(limit(measure="requests", most=1, window="1h", when_away="open"))
    limited.counting.kill()
    assert [call(proxy).status_code for _ in range(3)] == [200, 200, 200]


def test_an_owner_that_was_killed_goes_on_where_it_was(limited_by_owner: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited_by_owner.start(limit(measure="requests", most=2, window="1h"))
    assert call(proxy).status_code == 200
    limited_by_owner.counting.kill()
    limited_by_owner.counting.start()
    eventually(lambda: proxy.log().count("shared limits are counted") == 2)
    assert [call(proxy).status_code for _ in range(2)] == [200, 429]


def test_a_shadow_refuses_nothing_and_is_counted(limited_by_owner: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited_by_owner.start(limit(measure="requests", most=1, window="1h", mode="shadow"))
    assert [call(proxy).status_code for _ in range(3)] == [200, 200, 200]
    metrics = httpx.get(f"{proxy.url}/metrics/prometheus", timeout=60).text
    assert 'llm_proxy_limits_met_total{limit="fair share",mode="shadow"} 2' in metrics


def test_a_refused_call_costs_nothing_of_the_tokens_own_quota(limited_by_owner: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited_by_owner.start(limit(measure="requests", most=1, window="2s"))
    _, token = proxy.new_token(max_requests=2)
    assert [call(proxy, token=token).status_code for _ in range(4)] == [200, 429, 429, 429]
    eventually(lambda: call(proxy, token=token).status_code == 200)


def test_users_are_told_by_the_body_or_by_the_header_that_the_provider_names(
    limited_by_owner: Limited, upstream: Upstream
) -> None:
    answers(upstream)
    limited_by_owner.proxy.apis["openai"] = {"end_user_header": "X-User"}
    proxy = limited_by_owner.start(limit(measure="requests", most=1, window="1h", per=["end_user"]))
    assert [call(proxy, chat(user="ann")).status_code for _ in range(2)] == [200, 429]
    headers = {"authorization": f"Bearer {proxy.token}", "x-user": "ben"}
    statuses = [httpx.post(proxy.url + CHAT, json=chat(user="ann"), headers=headers, timeout=60) for _ in range(2)]
    assert [reply.status_code for reply in statuses] == [200, 429]
    assert proxy.event_of(statuses[0]).end_user == "ben"


def test_models_that_are_not_allowed_are_refused_and_so_are_calls_that_name_none(
    limited_by_owner: Limited, upstream: Upstream
) -> None:
    answers(upstream)
    proxy = limited_by_owner.start({"models": [{"allow": ["gpt-4o*"], "only": {"project": ["tests"]}}]})
    assert call(proxy).status_code == 200
    refused = call(proxy, chat(model="o1-pro"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert call(proxy, {"messages": []}).status_code == 403
    assert proxy.client().get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "gpt-4o", "model": "o1-pro"}',
        b'{"mod\\u0065l": "o1-pro", "model": "gpt-4o"}',
        b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\ngpt-4o\r\n'
        b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\no1-pro\r\n--x--\r\n',
    ],
)
def test_a_model_that_is_named_twice_slips_round_no_rule(
    limited_by_owner: Limited, upstream: Upstream, body: bytes
) -> None:
    answers(upstream)
    proxy = limited_by_owner.start({"models": [{"allow": ["gpt-4o"]}]})
    kind = "application/json" if body.startswith(b"{") else "multipart/form-data; boundary=x"
    with proxy.client() as client:
        refused = client.post(CHAT, content=body, headers={"content-type": kind})
    assert refused.status_code == 400
    assert "more than once" in refused.json()["error"]["message"]


def test_a_call_in_chunks_is_estimated_like_any_other(limited_by_owner: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited_by_owner.start(limit(measure="tokens", most=1000, window="1h"))
    with proxy.client() as client:
        body = json.dumps(chat()).encode()
        passed = client.post(CHAT, content=iter([body]), headers={"content-type": "application/json"})
    assert int(passed.headers["ratelimit-remaining"]) == 1000 - 100 - len(body) // 4


@pytest.mark.parametrize("kind", ["multipart/form-data", "Multipart/Form-Data"])
def test_the_files_of_a_form_are_not_estimated_as_text(
    limited_by_owner: Limited, upstream: Upstream, kind: str
) -> None:
    answers(upstream)
    reads_forms = {"models": [{"allow": ["whisper-1"]}]}
    proxy = limited_by_owner.start(limit(measure="tokens", most=1000, window="1h") | reads_forms)
    head = '--x\r\ncontent-disposition: form-data; name="{}"\r\n\r\n'
    form = head.format("model") + "whisper-1\r\n" + head.format("file") + "x" * 40_000 + "\r\n--x--\r\n"
    with proxy.client() as client:
        headers = {"content-type": f"{kind}; boundary=x"}
        passed = client.post("/v1/audio/transcriptions", content=form, headers=headers)
    assert int(passed.headers["ratelimit-remaining"]) == 1000 - Policy().assumed_output_tokens


def test_what_was_spent_in_an_outage_is_told_when_it_is_over(limited: Limited, upstream: Upstream) -> None:
    answers(upstream, {"prompt_tokens": 400_000, "completion_tokens": 0, "total_tokens": 400_000})  # one dollar
    proxy = limited.start(limit(measure="cost", most=5, window="month"), LLM_PROXY_LIMITS_TIMEOUT_MS="300")
    assert call(proxy).status_code == 200
    limited.counting.freeze(is_frozen=True)
    assert [call(proxy).status_code for _ in range(3)] == [200, 200, 200]
    limited.counting.freeze(is_frozen=False)
    eventually(lambda: "x-llm-proxy-limits" not in call(proxy).headers)
    eventually(lambda: call(proxy).status_code == 429)
    assert len(upstream.received) <= 6


def test_a_worker_that_has_not_read_its_policy_serves_nothing(own_proxy: Proxy, upstream: Upstream) -> None:
    limited = Limited(own_proxy, Counting(own_proxy, None))
    own_proxy.prepare()
    limited.write({"limits": "from the future"})
    own_proxy.start()
    refused = call(own_proxy)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")


def test_models_in_the_path_are_seen_however_they_are_written(limited_by_owner: Limited, upstream: Upstream) -> None:
    proxy = limited_by_owner.start({"models": [{"allow": ["allowed"]}]})
    for path in ("/v1beta/models/other%3AgenerateContent", "/v1beta/model%73/other:generateConten%74"):
        refused = httpx.post(
            f"{proxy.url}/gemini{path}", json={"model": "allowed"}, headers={"x-goog-api-key": proxy.token}, timeout=60
        )
        assert refused.status_code == 403, path


def test_long_uploads_pass_where_only_tokens_are_limited(limited_by_owner: Limited, upstream: Upstream) -> None:
    proxy = limited_by_owner.start(limit(measure="tokens", most=1000, window="1h"))
    with proxy.client() as client:
        for _ in range(2):
            assert client.post("/v1/files", files={"file": bytes(3_000_000)}).status_code == 200
        assert int(client.get("/v1/models").headers["ratelimit-remaining"]) > 900


def test_what_no_rule_names_may_be_denied(limited_by_owner: Limited, upstream: Upstream) -> None:
    answers(upstream)
    proxy = limited_by_owner.start(
        {"models": [{"allow": ["*"], "only": {"project": ["another"]}}], "unlisted_models": "deny"}
    )
    assert call(proxy).status_code == 403


def test_a_policy_that_is_changed_is_followed_and_one_that_cannot_be_read_changes_nothing(
    limited_by_owner: Limited, upstream: Upstream
) -> None:
    answers(upstream)
    proxy = limited_by_owner.start({})
    assert call(proxy).status_code == 200
    limited_by_owner.write(limit(measure="requests", most=0, window="1h"))
    eventually(lambda: call(proxy).status_code == 429)
    limited_by_owner.write({"limits": "from the future"})
    eventually(lambda: "the policy cannot be read" in proxy.log())
    assert call(proxy).status_code == 429


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_other_dialects_get_their_own_words(limited_by_owner: Limited, upstream: Upstream, dialect: str) -> None:
    proxy = limited_by_owner.start(limit(measure="requests", most=0, window="1h"))
    path = {"anthropic": "/anthropic/v1/messages", "gemini": "/gemini/v1beta/models/gemini-2.5-pro:generateContent"}
    key = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}
    refused = httpx.post(proxy.url + path[dialect], json={}, headers={key[dialect]: proxy.token}, timeout=60)
    assert refused.status_code == 429
    if dialect == "anthropic":
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert refused.headers["anthropic-ratelimit-requests-limit"] == "0"
    else:
        assert refused.json()["error"]["status"] == "RESOURCE_EXHAUSTED"


def test_the_variables_of_the_go_program_make_a_limit_for_each_token(
    limited_by_owner: Limited, upstream: Upstream
) -> None:
    answers(upstream)
    proxy = limited_by_owner.start(
        {}, DISTRIBUTED_RATE_LIMIT_ENABLED="true", DISTRIBUTED_RATE_LIMIT_MAX="2", DISTRIBUTED_RATE_LIMIT_WINDOW="1h"
    )
    assert [call(proxy).status_code for _ in range(3)] == [200, 200, 429]

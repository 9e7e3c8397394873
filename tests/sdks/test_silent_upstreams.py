"""An upstream that falls silent reaches a program as its client's own exception.

Only here are the providers' time-outs short: elsewhere a machine that stands still for a moment would meet them.
"""

from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from tests.sdks import anthropic_replies as claude
from tests.sdks.conftest import shipped_apis
from tests.sdks.records import Records
from tests.sdks.script import EVENT_STREAM, named_events
from tests.support.proxy import Proxy
from tests.support.upstream import Received, Upstream, Wire

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
OPENAI_CALL: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]}
ANTHROPIC_CALL: dict[str, Any] = {"max_tokens": 64, **OPENAI_CALL, "model": "claude-sonnet-5"}


@pytest.fixture(scope="module")
def shared_proxy(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    apis = shipped_apis(shared_upstream)
    for name in ("openai", "anthropic"):
        apis[name]["timeouts"] = {"connect": "60s", "response_header": "300ms", "idle": "300ms"}
    proxy = Proxy(tmp_path_factory.mktemp("impatient"), shared_upstream, apis=apis)
    try:
        yield proxy.start()
    finally:
        proxy.kill()


@pytest.fixture
def silent(upstream: Upstream) -> None:
    @upstream.on(CHAT)
    @upstream.on(MESSAGES)
    async def says_nothing(received: Received, wire: Wire) -> None:
        await wire.gone()


def test_an_openai_upstream_that_keeps_silent_is_504(silent: None, openai_client: OpenAI, records: Records) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        openai_client.with_options(max_retries=0).chat.completions.create(**OPENAI_CALL)

    assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
    assert (records.the_one().status, records.the_one().cut) == (504, "")


def test_an_anthropic_upstream_that_keeps_silent_is_504(silent: None, anthropic_client: Anthropic) -> None:
    with pytest.raises(anthropic.InternalServerError) as caught:
        anthropic_client.with_options(max_retries=0).messages.create(**ANTHROPIC_CALL)

    body: Any = caught.value.body
    assert (caught.value.status_code, caught.value.type) == (504, "timeout_error")
    assert body["code"] == body["error"]["code"] == "upstream_timeout"


def test_a_stream_that_falls_silent_raises_it_too(anthropic_client: Anthropic, upstream: Upstream) -> None:
    @upstream.on(MESSAGES)
    async def falls_silent(received: Received, wire: Wire) -> None:
        await wire.start_chunked(EVENT_STREAM)
        await wire.chunk(named_events(*claude.text_events("Grü"))[0])
        await wire.gone()

    with pytest.raises(anthropic.APIStatusError) as caught:
        with anthropic_client.messages.stream(**ANTHROPIC_CALL) as stream:
            stream.get_final_message()

    body: Any = caught.value.body
    assert body["code"] == "upstream_timeout"

"""Fixtures of the SDK tests: official clients, told nothing but another base URL and another key.

The proxy runs with the endpoints and methods of the providers file that is shipped; only the hosts are the test's.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from anthropic import Anthropic
from openai import OpenAI

from config.providers import SHIPPED_FILE, load_providers
from tests.sdks.records import Records
from tests.support.proxy import PROVIDERS, Proxy
from tests.support.upstream import Upstream


@pytest.fixture(scope="module")
def shared_proxy(shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    proxy = Proxy(tmp_path_factory.mktemp("proxy"), shared_upstream, apis=shipped_apis(shared_upstream))
    try:
        yield proxy.start()
    finally:
        proxy.kill()


@pytest.fixture
def openai_client(proxy: Proxy) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{proxy.url}/v1", api_key=proxy.token) as client:
        yield client


@pytest.fixture
def anthropic_client(proxy: Proxy) -> Iterator[Anthropic]:
    with Anthropic(base_url=f"{proxy.url}/anthropic", api_key=proxy.token) as client:
        yield client


@pytest.fixture
def records(proxy: Proxy) -> Records:
    return Records(proxy)


def shipped_apis(upstream: Upstream) -> dict[str, dict[str, Any]]:
    shipped = load_providers(SHIPPED_FILE).by_name
    return {
        name: {
            "base_url": upstream.url + urlsplit(shipped[name].base_url).path,
            "allowed_endpoints": list(shipped[name].allowed_endpoints),
            "allowed_methods": list(shipped[name].allowed_methods),
        }
        for name in PROVIDERS
    }

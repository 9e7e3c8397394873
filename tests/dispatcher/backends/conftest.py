"""The services that backends send to, each on a port of its own."""

from collections.abc import Iterator

import pytest

from tests.support.otlp_server import Collector
from tests.support.upstream import running_upstream
from tests.support.webhook_server import WebhookReceiver


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with running_upstream() as upstream:
        yield WebhookReceiver(upstream, "/hooks/T0KEN-in-the-path")


@pytest.fixture
def collector() -> Iterator[Collector]:
    with running_upstream() as upstream:
        yield Collector(upstream, "/v1/traces")

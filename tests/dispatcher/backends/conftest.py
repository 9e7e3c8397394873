"""The services that backends send to, each on a port of its own."""

from collections.abc import Iterator

import pytest

from config.ids import new_id
from tests.support.helicone_server import Helicone
from tests.support.langfuse_server import Langfuse
from tests.support.lunary_server import Lunary
from tests.support.otlp_server import Collector
from tests.support.s3_server import S3, running_moto, with_bucket
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


@pytest.fixture
def langfuse() -> Iterator[Langfuse]:
    with running_upstream() as upstream:
        yield Langfuse(upstream, "/base/api/public/otel/v1/traces")


@pytest.fixture
def helicone() -> Iterator[Helicone]:
    with running_upstream() as upstream:
        yield Helicone(upstream, "/custom/v1/log")


@pytest.fixture
def lunary() -> Iterator[Lunary]:
    with running_upstream() as upstream:
        yield Lunary(upstream, "/v1/runs/ingest")


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    yield from running_moto()


@pytest.fixture
def s3(moto: str) -> S3:
    return with_bucket(moto, f"bucket-{new_id()}")

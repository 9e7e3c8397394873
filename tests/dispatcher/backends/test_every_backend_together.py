"""A whole server, every backend turned on: what the database has, each of them has, and nothing that is secret."""

import gzip
from pathlib import Path

import pytest

from tests.support import langfuse_server, s3_server, webhook_server
from tests.support.helicone_server import KEY as HELICONE_KEY
from tests.support.helicone_server import Helicone
from tests.support.langfuse_server import Langfuse
from tests.support.llm_proxy import Demo, demo
from tests.support.lunary_server import KEY as LUNARY_KEY
from tests.support.lunary_server import Lunary
from tests.support.otlp_server import Collector
from tests.support.s3_server import S3
from tests.support.waiting import eventually
from tests.support.webhook_server import WebhookReceiver

BACKENDS = "database,file,webhook,otlp,langfuse,helicone,lunary,s3"
ENOUGH = 8


@pytest.mark.slow
def test_every_backend_has_what_the_database_has(
    tmp_path: Path,
    receiver: WebhookReceiver,
    collector: Collector,
    langfuse: Langfuse,
    helicone: Helicone,
    lunary: Lunary,
    s3: S3,
) -> None:
    environ = {
        "DISPATCHER_BACKENDS": BACKENDS,
        "FILE_EVENT_LOG": str(tmp_path / "events.jsonl"),
        "WEBHOOK_URL": receiver.url,
        "WEBHOOK_SECRET": webhook_server.SECRET,
        "OTLP_ENDPOINT": collector.upstream.url,
        "LANGFUSE_HOST": f"{langfuse.upstream.url}/base",
        "LANGFUSE_PUBLIC_KEY": langfuse_server.PUBLIC,
        "LANGFUSE_SECRET_KEY": langfuse_server.SECRET,
        "HELICONE_ENDPOINT": helicone.url,
        "HELICONE_API_KEY": HELICONE_KEY,
        "LUNARY_ENDPOINT": lunary.url,
        "LUNARY_API_KEY": LUNARY_KEY,
        "S3_ENDPOINT": s3.url,
        "S3_BUCKET": s3.bucket,
        "S3_ACCESS_KEY_ID": s3_server.ACCESS_KEY,
        "S3_SECRET_ACCESS_KEY": s3_server.SECRET_KEY,
        "S3_COMPRESSION": "gzip",
    }
    with demo(tmp_path, **environ) as running:
        eventually(lambda: len(running.recorded()) >= ENOUGH)
        wanted = running.recorded()
        eventually(lambda: wanted <= set(receiver.done))
        eventually(lambda: wanted <= set(collector.by_event()))
        eventually(lambda: wanted <= set(langfuse.by_event()))
        eventually(lambda: wanted <= set(helicone.records))
        eventually(lambda: wanted <= {run for run, told in lunary.runs.items() if "ended" in told})
        eventually(lambda: all(one in in_bucket(s3) for one in wanted))
        eventually(lambda: all(one in (tmp_path / "events.jsonl").read_text() for one in wanted))
        assert running.server.stop() == 0, running.server.err
        assert_nothing_secret(running, environ)


def in_bucket(s3: S3) -> str:
    return "".join(gzip.decompress(s3.content(key)).decode() for key in s3.listed())


def assert_nothing_secret(running: Demo, environ: dict[str, str]) -> None:
    told = running.server.out + running.server.err
    for name, value in environ.items():
        if name.endswith(("SECRET", "SECRET_KEY", "API_KEY", "ACCESS_KEY", "ACCESS_KEY_ID", "WEBHOOK_URL")):
            assert value not in told, name

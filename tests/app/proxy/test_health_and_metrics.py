"""Health for probes, and metrics whose one scrape shows all workers."""

import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from app.metrics import collected
from config import paths
from tests.support.proxy import Proxy, free_port
from tests.support.waiting import eventually


def test_health_ready_and_live_answer_as_the_go_program_does(proxy: Proxy) -> None:
    health = httpx.get(f"{proxy.url}/health").json()

    assert (health["status"], health["version"]) == ("ok", "0.1.0")
    assert health["timestamp"]
    assert httpx.get(f"{proxy.url}/ready").text == "ready"
    assert httpx.get(f"{proxy.url}/live").text == "alive"


def test_metrics_keep_the_known_names_and_count_what_happened(own_proxy: Proxy) -> None:
    own_proxy.start()
    with own_proxy.client() as client:
        for _ in range(3):
            client.get("/v1/models")
        client.get("/nobody/v1/models")
        document = client.get("/metrics").json()
        text = client.get("/metrics/prometheus").text

    assert (document["request_count"], document["error_count"], document["cache_hits"]) == (4, 1, 0)
    assert document["uptime_seconds"] > 0
    assert "llm_proxy_requests_total 4" in text
    assert 'llm_proxy_refusals_total{code="provider_not_found"} 1' in text
    assert 'llm_proxy_request_duration_seconds_count{provider="openai",status="2xx"} 3' in text
    assert 'llm_proxy_processor_seconds_bucket{processor="Authenticate",le="+Inf"} 1' in text


def test_the_text_is_what_prometheus_reads(own_proxy: Proxy) -> None:
    own_proxy.start()
    with own_proxy.client() as client:
        client.get("/v1/models")
        response = client.get("/metrics/prometheus")

    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'[a-z_]+(\{([a-z]+="[^"\n]*",?)*\})? [0-9.e+-]+\Z')
    families: set[str] = set()
    for line in response.text.splitlines():
        if line.startswith("# TYPE "):
            family = line.split(" ")[2]
            assert family not in families, "a family may be described once"
            families.add(family)
        elif not line.startswith("#"):
            assert sample.match(line), line
    assert {"llm_proxy_requests_total", "llm_proxy_request_duration_seconds"} <= families


@pytest.mark.slow
def test_the_connections_to_each_provider_are_told(own_proxy: Proxy) -> None:
    own_proxy.start()
    with own_proxy.client() as client:
        client.get("/v1/models")

        def scraped() -> str:
            return client.get("/metrics/prometheus").text

        eventually(lambda: 'llm_proxy_upstream_connections{provider="openai",state="idle"} 1' in scraped())
        assert 'llm_proxy_upstream_dials_total{provider="openai"} 1' in scraped()
        assert 'llm_proxy_upstream_waiting{provider="openai"} 0' in scraped()


@pytest.mark.slow
def test_one_scrape_shows_all_workers_and_those_that_died(own_proxy: Proxy) -> None:
    own_proxy.environ["LLM_PROXY_WORKERS"] = "2"
    own_proxy.start()

    def spread_calls() -> int:
        for _ in range(20):
            eventually(is_answered)
        return 20

    def is_answered() -> bool:
        """A connection that a dying worker had in its queue is reset, and its call was never taken."""
        try:
            with own_proxy.client() as client:
                return client.get("/v1/models").status_code > 0
        except httpx.TransportError:
            return False

    def total() -> int:
        return int(httpx.get(f"{own_proxy.url}/metrics").json()["request_count"])

    def written() -> int:
        return collected(paths.metrics_dir(own_proxy.settings), None, "").counters["llm_proxy_requests_total"]

    calls = spread_calls()
    eventually(lambda: total() == calls)
    eventually(lambda: written() == calls)  # what a worker has not written yet dies with it
    assert own_proxy.process is not None
    children = subprocess.run(["pgrep", "-P", str(own_proxy.process.pid)], capture_output=True, text=True, check=True)
    killed = int(children.stdout.split()[0])
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: _has_ended(killed))  # until then it takes calls, which end with it

    calls += spread_calls()

    eventually(lambda: total() == calls)


def _has_ended(pid: int) -> bool:
    """Whether its parent has noticed or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_metrics_move_to_their_own_address(own_proxy: Proxy) -> None:
    own_proxy.environ["METRICS_ADDR"] = f"127.0.0.1:{free_port()}"
    own_proxy.start()

    with own_proxy.client() as client:
        response = client.get("/metrics")

    assert response.status_code == 404
    assert response.json()["code"] == "provider_not_found"

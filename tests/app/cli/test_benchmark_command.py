"""`llm-proxy benchmark` against a real server of ours, and against one that stands still."""

import asyncio
import csv
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.llm_proxy import run
from tests.support.proxy import Proxy
from tests.support.upstream import Received, Upstream, Wire, sse

CHAT = "/v1/chat/completions"
JSON = (b"content-type", b"application/json")
ANSWER = b'{"id":"x","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}'
USAGE = '{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}'


def answers(upstream: Upstream) -> None:
    @upstream.on(CHAT)
    async def answer(received: Received, wire: Wire) -> None:
        await wire.reply(200, ANSWER, JSON)


def benchmark(folder: Path, url: str, token: str, *options: str) -> dict[str, Any]:
    where = ("--base-url", url, "--token", token, "--json", "-")
    done = run(folder, "benchmark", *where, *options)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_it_tells_how_many_calls_were_answered_how_fast(folder: Path, proxy: Proxy, upstream: Upstream) -> None:
    answers(upstream)

    report = benchmark(folder, proxy.url, proxy.token, "-r", "40", "-c", "4", "--warm-up", "3", "--csv", "calls.csv")

    figures, latency = report["proxy"], report["proxy"]["latency_ms"]
    assert (figures["requests"], figures["failed"], figures["statuses"]) == (40, 0, {"200": 40})
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert (figures["completion_tokens"], figures["tokens_per_s"] > 0, report["direct"]) == (200, True, None)
    with (folder / "calls.csv").open(newline="") as lines:
        calls = list(csv.DictReader(lines))
    assert len(calls) == 40
    assert {call["status"] for call in calls} == {"200"}


def test_a_stream_tells_the_time_to_its_first_token(folder: Path, proxy: Proxy, upstream: Upstream) -> None:
    asked: list[dict[str, Any]] = []

    @upstream.on(CHAT)
    async def stream(received: Received, wire: Wire) -> None:
        asked.append(json.loads(received.body))
        await wire.start_chunked((b"content-type", b"text/event-stream"))
        await wire.chunk(sse('{"choices":[{"delta":{"content":"one"}}]}'))
        await asyncio.sleep(0.3)
        await wire.chunk(sse(USAGE, "[DONE]"))
        await wire.end()

    report = benchmark(folder, proxy.url, proxy.token, "-r", "6", "-c", "2", "--stream", "--model", "gpt-x")

    figures = report["proxy"]
    assert figures["latency_ms"]["p50"] >= figures["ttft_ms"]["p50"] + 100
    assert (figures["completion_tokens"], asked[0]["model"], asked[0]["stream"]) == (30, "gpt-x", True)


def test_what_the_proxy_adds_is_measured_against_the_provider_in_turn(
    folder: Path, proxy: Proxy, upstream: Upstream
) -> None:
    answers(upstream)

    direct = ("--direct", upstream.url, "--direct-key-env", "KEY_OF_THE_TEST")
    done = run(
        folder, "benchmark", "--base-url", proxy.url, "--token", proxy.token, "-r", "20", "-c", "2", *direct,
        "--json", "report.json", KEY_OF_THE_TEST="sk-direct",
    )  # fmt: skip
    report = json.loads((folder / "report.json").read_text())

    assert done.returncode == 0, done.stderr
    assert "added by the proxy" in done.stdout
    assert (report["proxy"]["requests"], report["direct"]["requests"]) == (20, 20)
    added = report["proxy"]["latency_ms"]["p50"] - report["direct"]["latency_ms"]["p50"]
    assert report["added_ms"]["p50"] == pytest.approx(added, abs=0.002)
    assert "sk-" not in done.stdout + (folder / "report.json").read_text()


def test_a_server_that_stands_still_is_late_for_all_that_was_due_meanwhile(
    folder: Path, proxy: Proxy, upstream: Upstream
) -> None:
    """One worker, 50 calls a second, and a first answer that takes half a second: 25 calls are late."""
    lock, is_first = threading.Lock(), True

    @upstream.on(CHAT)
    async def stands_still_once(received: Received, wire: Wire) -> None:
        nonlocal is_first
        with lock:
            was_first, is_first = is_first, False
        await asyncio.sleep(0.5 if was_first else 0)
        await wire.reply(200, ANSWER, JSON)

    report = benchmark(
        folder, proxy.url, proxy.token, "-r", "40", "-c", "1", "--rate", "50", "--warm-up", "0", "--csv", "calls.csv"
    )

    with (folder / "calls.csv").open(newline="") as lines:
        latencies = [float(call["latency_ms"]) for call in csv.DictReader(lines)]
    assert report["settings"]["loop"] == "open"
    assert sum(latency > 100 for latency in latencies) >= 15, "only the first one would be slow"
    assert report["seconds"] >= 0.75


def test_refusals_are_told_by_status_and_code(folder: Path, proxy: Proxy) -> None:
    done = run(folder, "benchmark", "--base-url", proxy.url, "--token", "sk-nobody", "-r", "5")

    assert done.returncode == 1
    assert "401 5x" in done.stdout
    assert "invalid_token 5x" in done.stdout
    assert "no call" in done.stderr


def test_two_runs_are_compared_line_by_line(folder: Path, proxy: Proxy, upstream: Upstream) -> None:
    answers(upstream)
    where = ("benchmark", "--base-url", proxy.url, "--token", proxy.token, "--duration", "0.3", "-c", "2")
    run(folder, *where, "--json", "before.json")

    done = run(folder, *where, "--compare", "before.json")

    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("latency p95 ms")]
    assert line.endswith(" %")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "PROXY_TOKEN is not set"),
        (("--token", "t", "--base-url", "localhost:8080"), "must be like https://host:port"),
        (("--token", "t", "--endpoint", "v1"), "is no path"),
        (("--token", "t", "--header", "nothing"), "x-name: value"),
        (("--token", "t", "--direct", "http://127.0.0.1:1"), "OPENAI_API_KEY is not set"),
    ],
)
def test_what_cannot_be_measured_is_one_line(folder: Path, options: tuple[str, ...], said: str) -> None:
    done = run(folder, "benchmark", *options)

    assert (done.returncode, said in done.stderr, done.stderr.count("\n")) == (2, True, 1)


def test_a_file_that_is_no_report_is_not_compared(folder: Path) -> None:
    (folder / "other.json").write_text("[]")

    done = run(folder, "benchmark", "--token", "t", "--compare", "other.json")

    assert (done.returncode, "is no report" in done.stderr) == (1, True)

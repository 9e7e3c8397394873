"""`llm-proxy manage prices`: set, listed and deleted at a running server."""

from pathlib import Path

import pytest

from tests.support.llm_proxy import Demo, run, run_json

pytestmark = pytest.mark.slow


def test_a_price_is_set_listed_and_deleted(
    folder: Path, manage_environment: dict[str, str], running_demo: Demo
) -> None:
    prices = ("manage", "prices")
    made = run_json(
        folder, *prices, "set", "openai", "house-*", "input=1.5", "output=6", "--from", "2026-12-01",
        **manage_environment,
    )  # fmt: skip
    wrong = run(folder, *prices, "set", "openai", "house-*", "input=much", **manage_environment)
    shown = run(folder, *prices, "list", **manage_environment)
    gone = run(folder, *prices, "delete", made["id"], **manage_environment)

    assert (made["prices"], made["from"]) == ({"input": 1.5, "output": 6.0}, "2026-12-01T00:00:00.000Z")
    assert wrong.returncode == 2
    assert "house-*" in shown.stdout
    assert gone.returncode == 0, gone.stderr
    assert run_json(folder, *prices, "list", **manage_environment) == []

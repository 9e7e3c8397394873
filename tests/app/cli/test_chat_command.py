import json
from pathlib import Path

import pytest

from tests.support.llm_proxy import Demo, run


@pytest.fixture
def chat_environment(running_demo: Demo) -> dict[str, str]:
    return {"PROXY_URL": running_demo.proxy, "PROXY_TOKEN": running_demo.token}


@pytest.mark.parametrize("options", [(), ("--no-stream",), ("--system", "Be brief.", "--model", "gpt-4.1")])
def test_an_answer_comes_through_the_proxy(
    folder: Path, chat_environment: dict[str, str], options: tuple[str, ...]
) -> None:
    done = run(folder, "chat", "what is it?", *options, **chat_environment)

    assert (done.returncode, done.stderr) == (0, "")
    assert 'You asked: "what is it?".' in done.stdout


def test_the_older_name_works_and_so_do_its_flags(folder: Path, running_demo: Demo) -> None:
    flags = ("--proxy", running_demo.proxy, "--token", running_demo.token, "--temperature", "0.2", "--max-tokens", "9")

    done = run(folder, "openai", "chat", "hello", *flags)

    assert 'You asked: "hello".' in done.stdout


def test_the_question_may_come_from_stdin_and_the_answer_be_json(
    folder: Path, chat_environment: dict[str, str]
) -> None:
    done = run(folder, "chat", "--json", stdin="from a pipe\n", **chat_environment)

    answer = json.loads(done.stdout)
    assert answer["object"] == "chat.completion"
    assert "from a pipe" in answer["choices"][0]["message"]["content"]


def test_a_refused_token_is_one_line(folder: Path, chat_environment: dict[str, str]) -> None:
    done = run(folder, "chat", "hello", **{**chat_environment, "PROXY_TOKEN": "sk-unknown-token-0000000000000"})

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("llm-proxy: 401: ")
    assert len(done.stderr.splitlines()) == 1

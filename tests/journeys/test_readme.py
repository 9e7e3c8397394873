"""The README's commands, run as they stand: every `sh` block, in order, in a copy of this checkout.

`console` blocks show output and are not run. The copy uses the environment that is already made: that `make setup`
makes one from nothing is seen wherever `make test` is started in a fresh clone. `make lint` is not run a second time.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.ports import any_free
from tests.support.llm_proxy import clean_environment, is_ready
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
_STAYS = ("make run", ".venv/bin/llm-proxy server")
_ALREADY_RUN = ("make lint", "make test", "make test-fast", "make bench")  # this is a part of `make test`


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git knows, and links to the environment that `make` has made."""
    folder = tmp_path_factory.mktemp("clone")
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    for name in (".venv", ".tools"):
        (folder / name).symlink_to(ROOT / name)
    for stamp in (".installed", ".dev"):  # as make left them, but newer than the copies
        assert (ROOT / ".venv" / stamp).exists(), "run `make setup` first"
    return folder


@pytest.fixture(scope="module")
def environ() -> dict[str, str]:
    """The README's ports may be taken on this machine; nothing else is set."""
    ports = {name: str(any_free("127.0.0.1")) for name in ("LISTEN_ADDR", "ADMIN_UI_LISTEN_ADDR")}
    return {name: value for name, value in clean_environment(**ports).items() if not name.startswith("MAKE")}


@contextmanager
def _staying(command: str, checkout: Path, environ: dict[str, str]) -> Iterator[None]:
    """A command that goes on until Ctrl-C."""
    with (checkout / "stays.log").open("wb") as log:
        process = subprocess.Popen(
            command, shell=True, cwd=checkout, env=environ, stdout=log, stderr=log, start_new_session=True
        )
        try:
            proxy = f"http://{environ['LISTEN_ADDR']}"
            eventually(lambda: is_ready(proxy) or process.poll() is not None)
            assert process.poll() is None, (checkout / "stays.log").read_text()
            if command.startswith("make run"):
                eventually(lambda: "llm-proxy is up" in (checkout / "stays.log").read_text())
            yield
        finally:
            _signal_all(process, signal.SIGINT)
            process.wait(60)


def _signal_all(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """As a terminal does with Ctrl-C: make and the server both get it."""
    os.killpg(process.pid, number)


def _run(commands: list[str], checkout: Path, environ: dict[str, str]) -> None:
    if not commands:
        return
    first, *rest = commands
    if first.startswith(_STAYS):
        with _staying(first, checkout, environ):
            _run(rest, checkout, environ)
        return
    if first not in _ALREADY_RUN:
        done = subprocess.run(first, shell=True, cwd=checkout, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{first}\n{done.stdout}{done.stderr}"
    _run(rest, checkout, environ)


@pytest.mark.slow
def test_every_command_of_the_readme_works(checkout: Path, environ: dict[str, str]) -> None:
    assert len(BLOCKS) >= 3

    for block in BLOCKS:
        _run([line for line in block.splitlines() if line and not line.startswith("#")], checkout, environ)

    assert (checkout / ".env").stat().st_mode & 0o077 == 0


def test_the_readme_shows_what_make_run_prints() -> None:
    """Its labels, in its order; values differ from machine to machine."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    source = (ROOT / "app/cli/demo_run.py").read_text(encoding="utf-8")
    printed = re.findall(r'^        "([a-z ]+)": ', source, re.MULTILINE)

    shown = re.search(r"```console\nllm-proxy is up\n\n(.*?)```", readme, re.DOTALL)

    assert shown
    assert [line.strip().split("  ")[0] for line in shown[1].splitlines() if line.strip()] == printed

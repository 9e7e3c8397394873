"""What a repository must not hold, and what must be equal to what."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from config.env_example import FILE, text
from config.load import load_settings
from config.settings import Settings
from config.variables import variables
from tests.support.source_tree import ROOT

TOP = frozenset(
    {
        *("app", "bus", "dispatcher", "admin", "sql", "config", "tests", "deploy"),
        *("pyproject.toml", "Makefile", "requirements.lock", "requirements-dev.lock", "requirements-tools.lock"),
        *("README.md", "CHANGELOG.md", "LICENSE", "THIRD_PARTY_NOTICES", ".env.example"),
        *(".ci", ".github", ".gitignore"),
    }
)
HERE = "tests/test_repository.py"
MACHINE_PATHS = re.compile(r"(?<![\w.~$/-])(?:/work/|/root\b|/home/[a-z]|/Users/[a-z]|[A-Z]:\\Users)")
REGISTRIES = re.compile(
    r"(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|registry-1\.docker\.io|proxy\.golang\.org"
    r"|index-url\s*=?\s*https?:|/simple/?\s*$)",
    re.IGNORECASE,
)
SECRETS = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bghp_[A-Za-z0-9]{36}\b")
MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction"""


def tracked() -> list[str]:
    """What git tracks and what it would take, so that a file is judged before it is added."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Text files by name; this file, which names what it looks for, left out."""
    found = {}
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" not in content[:8192] and name != HERE:
            found[name] = content.decode("utf-8", "replace")
    return found


def lines_with(pattern: re.Pattern[str], texts: dict[str, str]) -> Iterator[str]:
    for name, content in texts.items():
        for number, line in enumerate(content.splitlines(), 1):
            if pattern.search(line):
                yield f"{name}:{number}: {line.strip()[:120]}"


def project() -> dict[str, Any]:
    told: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return told


def without_extras(requirement: str) -> str:
    return re.sub(r"\[[^\]]*\]", "", requirement)


def one_line(content: str) -> str:
    return " ".join(content.split())


def test_nothing_unexpected_lies_at_the_top() -> None:
    assert {name.partition("/")[0] for name in tracked()} - TOP == set()


def test_no_file_names_a_path_of_somebodys_machine(texts: dict[str, str]) -> None:
    assert list(lines_with(MACHINE_PATHS, texts)) == []


def test_no_file_names_a_package_registry(texts: dict[str, str]) -> None:
    assert list(lines_with(REGISTRIES, texts)) == []


def test_no_file_holds_a_real_secret(texts: dict[str, str]) -> None:
    assert list(lines_with(SECRETS, texts)) == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-tools.lock"])
def test_lock_files_pin_by_hash_and_hold_no_url(name: str) -> None:
    lock = (ROOT / name).read_text()
    pins = re.findall(r"^[a-z0-9][\w.-]*(?:\[[\w,.-]+\])?==\S+", lock, re.MULTILINE | re.IGNORECASE)

    assert "://" not in lock
    assert pins
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", lock)) >= len(pins)


def test_every_dependency_is_pinned_exactly_and_locked() -> None:
    dependencies = project()["dependencies"]
    lock = without_extras((ROOT / "requirements.lock").read_text()).lower().replace(".", "-")

    missing = [d for d in dependencies if f"\n{without_extras(d).lower().replace('.', '-')} " not in f"\n{lock}"]

    assert all("==" in dependency for dependency in dependencies)
    assert missing == []


def test_there_is_no_lock_file_that_carries_a_registry() -> None:
    assert {"uv.lock", "poetry.lock", "package-lock.json", "Pipfile.lock"} & {Path(n).name for n in tracked()} == set()


def test_the_licence_is_mit() -> None:
    licence = (ROOT / "LICENSE").read_text()

    assert licence.startswith("MIT License")
    assert one_line(MIT) in one_line(licence)
    assert "THE SOFTWARE IS PROVIDED" in licence


def test_the_example_environment_lists_every_setting_as_it_is() -> None:
    assert FILE.read_text() == text(), "run `python -m config.env_example`"


def test_the_example_environment_is_right_when_its_lines_are_taken(tmp_path: Path) -> None:
    taken = tmp_path / ".env"
    taken.write_text(re.sub(r"^#(?=[A-Z0-9_]+=)", "", text(), flags=re.MULTILINE))

    assert len(re.findall(r"^[A-Z0-9_]+=", taken.read_text(), re.MULTILINE)) == len(variables())
    assert load_settings({}, taken) == Settings()


def test_the_version_is_one() -> None:
    assert f"## {project()['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_what_continuous_integration_runs_is_what_a_newcomer_runs() -> None:
    workflow = (ROOT / ".github/workflows/test.yml").read_text()
    runner = [line for line in (ROOT / ".ci/run").read_text().splitlines() if line and not line.startswith("#")]

    assert re.findall(r"^\s+- run: (.*)$", workflow, re.MULTILINE) == ["make test"]
    assert runner[-1] == "exec make test"


def test_every_vendored_file_has_its_notice() -> None:
    notices = (ROOT / "THIRD_PARTY_NOTICES").read_text()
    vendored = [name for name in tracked() if "/vendor/" in name and not name.endswith((".LICENSE", "README.md"))]

    assert [name for name in vendored if name not in notices] == []


def test_every_fixture_of_json_is_json() -> None:
    for path in (ROOT / "tests").rglob("fixtures/*.json"):
        msgspec.json.decode(path.read_bytes())

"""The table of who may import whom, and the rules of the house that a machine can check."""

import ast
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.support.source_tree import PACKAGES, ROOT, Module, modules

OURS = modules(*PACKAGES)
COMPOSITION = ("app/cli/", "app/demo/")
"""The one place where packages meet; the demo is a part of the CLI that is large enough for a folder."""

MAY_IMPORT = {
    "config": frozenset[str](),
    "bus": frozenset({"config"}),
    "sql": frozenset({"config"}),
    "app": frozenset({"config", "bus", "sql"}),
    "dispatcher": frozenset({"config", "bus", "sql"}),
    "admin": frozenset(
        {"config", "sql"}
        | {f"bus.{name}" for name in ("signals", "inspection", "standing", "ledger", "dead_letters", "errors")}
    ),
}
"""What is not named whole is named by module; `bus.errors` are what `bus.inspection` raises."""
HOMES = {
    "aiohappyeyeballs": ("app/upstreams/dialling.py",),
    "aiohttp": ("app/upstreams/",),
    "aiosqlite": ("sql/sqlite", "bus/sqlite"),
    "click": ("app/cli/",),  # what Typer stands on
    "brotli": ("bus/transcript/encodings.py", "admin/bodies.py"),
    "cryptography": ("sql/sealing.py",),
    "dogpile": ("app/lookups.py", "app/memory.py"),
    "granian": (*COMPOSITION, "app/supervisor.py"),
    "httptools": ("app/upstreams/http1_answer.py",),
    "httpx": ("dispatcher/backends/", *COMPOSITION),
    "jinja2": ("admin/rendering.py",),
    "markupsafe": ("admin/",),
    "msgspec": ("",),
    "multidict": ("app/upstreams/",),  # aiohttp's own, as is yarl
    "psycopg": ("sql/postgres",),
    "psycopg_pool": ("sql/postgres",),
    "redis": ("bus/", "app/limits/", "app/replies.py"),
    "hiredis": ("app/limits/",),
    "rich": ("app/cli/",),
    "sqlite3": ("sql/sqlite", "bus/sqlite"),
    "starlette": ("app/", "admin/"),
    "tiktoken": ("app/estimates/tokenizer.py",),
    "typer": ("app/cli/",),
    "uvloop": ("app/",),
    "yaml": ("config/", "app/demo/"),
    "yarl": ("app/upstreams/",),
    "google": ("dispatcher/backends/otlp",),  # protobuf, under what opentelemetry-proto generates
    "obstore": ("dispatcher/backends/s3",),
    "opentelemetry": ("dispatcher/backends/otlp",),
    "zstandard": ("bus/", "admin/bodies.py", "dispatcher/backends/s3"),
}
"""Third parties (and sqlite3), and the beginnings of the paths that may import them."""

pytestmark = pytest.mark.xdist_group("house rules")  # all files are read and parsed once

NO_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "data", "info"})
MAX_LINES = 300
MAX_TEST_LINES = 500  # tables of cases
LONGER: dict[str, str] = {}
"""Files that are longer, and why."""
LISTENING = frozenset({"app/request_body.py"})
"""`receive()` gives a future of Granian's, to which a callback is added: there is no task to belong to a group."""


def told(lines: Iterator[str]) -> str:
    return "\n".join(lines)


def _wrong_packages() -> Iterator[str]:
    for module in OURS:
        if module.path.startswith(COMPOSITION):
            continue
        for line, name in module.imports():
            package = name.partition(".")[0]
            if package in PACKAGES and package != module.package and not _may(module, name):
                yield f"{module.path}:{line}: imports {name}"


def _may(module: Module, name: str) -> bool:
    return any(name == allowed or name.startswith(f"{allowed}.") for allowed in MAY_IMPORT[module.package])


def test_packages_import_only_what_they_may() -> None:
    assert told(_wrong_packages()) == ""


def _homeless() -> Iterator[str]:
    for module in OURS:
        for line, name in module.imports():
            library = name.partition(".")[0]
            if library in PACKAGES or (library in sys.stdlib_module_names and library not in HOMES):
                continue
            if not any(module.path.startswith(home) for home in HOMES.get(library, ())):
                yield f"{module.path}:{line}: {library} has no home here"


def test_third_parties_stay_at_home() -> None:
    assert told(_homeless()) == ""


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        module.path
        for module in OURS
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv")
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    from_os = {m.path for m in OURS for _, n in m.imports() if n in ("os.environ", "os.environb", "os.getenv")}

    assert readers | from_os <= {"config/load.py"}


def test_imports_are_absolute() -> None:
    assert told(f"{m.path}:{line}" for m in OURS for line, name in m.imports() if name.startswith(".")) == ""


def test_every_module_says_what_it_is_for() -> None:
    silent = (m.path for m in OURS if not m.path.endswith("__init__.py") and not ast.get_docstring(m.tree))

    assert told(silent) == ""


def test_no_module_has_a_name_that_says_nothing() -> None:
    named = (m.path for m in OURS if NO_NAMES & set(m.path.removesuffix(".py").replace("_", "/").split("/")))

    assert told(named) == ""


def test_files_stay_short_enough_to_read() -> None:
    lines = {m.path: len(m.text.splitlines()) for m in [*OURS, *modules("tests")]}
    long = {p: n for p, n in lines.items() if n > (MAX_TEST_LINES if p.startswith("tests/") else MAX_LINES)}

    assert {path: n for path, n in long.items() if path not in LONGER} == {}
    assert set(LONGER) <= set(long), "no longer too long: take it off the list"


def test_only_the_cli_prints() -> None:
    printing = (
        f"{module.path}:{node.lineno}"
        for module in OURS
        if not module.path.startswith(COMPOSITION)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    )

    assert told(printing) == ""


def test_every_task_belongs_to_a_group() -> None:
    bare = (
        f"{module.path}:{node.lineno}: asyncio.{node.attr}"
        for module in OURS
        if module.path not in LISTENING
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and node.attr in ("create_task", "ensure_future")
        if isinstance(node.value, ast.Name) and node.value.id == "asyncio"
    )

    assert told(bare) == ""


def test_test_files_have_names_of_their_own_and_are_no_package() -> None:
    tests = modules("tests")
    names = Counter(m.path.rpartition("/")[2] for m in tests if "/test_" in m.path)

    assert {name for name, count in names.items() if count > 1} == set()
    assert [m.path for m in tests if m.path.endswith("__init__.py")] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_has_a_readme_of_one_screen(package: str) -> None:
    lines = (ROOT / package / "README.md").read_text(encoding="utf-8").splitlines()

    assert 10 <= len(lines) <= 100

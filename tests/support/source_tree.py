"""Our own source as data for tests: modules, what they import, what they name."""

import ast
from functools import cache
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[2]
PACKAGES = ("config", "bus", "sql", "app", "dispatcher", "admin")


class Module(Struct, frozen=True):
    path: str
    """From the root, with slashes: `app/cli/main.py`."""
    text: str

    @property
    def package(self) -> str:
        return self.path.partition("/")[0]

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    def imports(self) -> list[tuple[int, str]]:
        """Line and dotted name of everything imported, also inside functions; `from x import y` is `x.y`."""
        found: list[tuple[int, str]] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                source = "." * node.level + (node.module or "")
                found += [(node.lineno, f"{source}.{alias.name}") for alias in node.names]
        return found


@cache
def modules(*folders: str) -> tuple[Module, ...]:
    """All modules below `folders`, in order."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return tuple(Module(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths)

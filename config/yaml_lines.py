"""YAML with its line numbers, so that a mistake in a file can be pointed at."""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from config.errors import ConfigError


class Document:
    """A file as plain values, and the line of each of them."""

    def __init__(self, name: str, text: str) -> None:
        """Raises ConfigError with name and line when `text` is no YAML or has a key twice."""
        self._name = name
        try:
            self._root = yaml.compose(text, Loader=yaml.SafeLoader)
            self.value: Any = yaml.safe_load(text)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError([f"{name}:{line}: not YAML: {error.problem}"]) from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError([f"{name}:1: not YAML: {error}"]) from error
        try:
            twice = list(self._keys_that_are_there_twice(self._root))
        except RecursionError as error:  # YAML can hold itself
            raise ConfigError([f"{name}:1: nested too deeply"]) from error
        if twice:
            raise ConfigError(twice)

    def where(self, keys: Sequence[str | int]) -> str:
        """`file:line` of the deepest part of the way `keys` that the document has."""
        line, node = 1, self._root
        for key in keys:
            found = _step(node, key)
            if found is None:
                break
            line, node = found
        return f"{self._name}:{line}"

    def _keys_that_are_there_twice(self, node: yaml.Node | None) -> Iterator[str]:
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, value in node.value:
                if key.value in seen and key.value != "<<":
                    yield f"{self._name}:{key.start_mark.line + 1}: {key.value!r} is there twice"
                seen.add(key.value)
                yield from self._keys_that_are_there_twice(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                yield from self._keys_that_are_there_twice(value)


def _step(node: yaml.Node | None, key: str | int) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((k.start_mark.line + 1, v) for k, v in node.value if k.value == str(key)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key].start_mark.line + 1, node.value[key]
    return None

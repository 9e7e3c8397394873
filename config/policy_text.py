"""The policy document as a file that people write, YAML or JSON, with the line of each mistake in it."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import yaml

from config.errors import ConfigError
from config.yaml_lines import Document

_STEP: Final = re.compile(r"(\w+)|\[(\d+)\]")
_WIDTH: Final = 120


class PolicyText:
    def __init__(self, name: str, text: str) -> None:
        """Raises ConfigError when it is neither YAML nor JSON. What is empty, or all comments, is an empty document."""
        self._lines: Document | None = None
        try:
            self.document: Any = msgspec.json.decode(text)  # first: YAML reads 1e3 as text, and knows no tabs
        except (msgspec.DecodeError, RecursionError):
            self._lines = Document(name, text)
            self.document = {} if self._lines.value is None else _as_json_has_it(name, self._lines.value)
        self._name = name

    def located(self, place: str, fault: str) -> str:
        """`file:3: limits[0].most: ...` of YAML; `place` as mistakes in a document have it."""
        keys = [name or int(number) for name, number in _STEP.findall(place)]
        where = self._lines.where(keys) if self._lines else self._name
        return f"{where}: {place}: {fault}" if place else f"{where}: {fault}"


def as_yaml(document: Mapping[str, Any]) -> str:
    """In the order of the document; comments are not kept."""
    if not document:
        return ""
    text = _dumped(document, allow_unicode=True)
    if yaml.safe_load(text) != document:  # line breaks of other scripts (U+0085, U+2028) are lost when not escaped
        text = _dumped(document, allow_unicode=False)
    return text


def _dumped(document: Mapping[str, Any], *, allow_unicode: bool) -> str:
    text: str = yaml.safe_dump(
        dict(document), sort_keys=False, allow_unicode=allow_unicode, default_flow_style=None, width=_WIDTH
    )
    return text


def _as_json_has_it(name: str, value: Any) -> Any:
    """YAML has dates, sets and infinite numbers, JSON has not."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError([f"{name}: cannot be said in JSON: {error}"]) from error

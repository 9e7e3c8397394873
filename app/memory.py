"""A bounded memory for dogpile.cache: least recently used entries go first.

dogpile's own memory backend grows without end, and what we remember is keyed by what strangers send.
"""

from collections import OrderedDict
from typing import Any

from dogpile.cache import CacheRegion, make_region, register_backend
from dogpile.cache.api import NO_VALUE, CacheBackend


class BoundedMemory(CacheBackend):
    """`arguments={"size": n}`: how many entries are kept."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._size: int = arguments["size"]
        self._entries: OrderedDict[str, Any] = OrderedDict()

    def get(self, key: str) -> Any:
        entry = self._entries.get(key, NO_VALUE)
        if entry is not NO_VALUE:
            self._entries.move_to_end(key)
        return entry

    def set(self, key: str, value: Any) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)

    def delete(self, key: str) -> None:
        self._entries.pop(key, None)


register_backend("llm_proxy.bounded_memory", __name__, "BoundedMemory")  # type: ignore[no-untyped-call]


def bounded_region(size: int) -> CacheRegion:
    """A region that keeps `size` entries and lets none expire by itself: whoever reads says how old one may be."""
    region: CacheRegion = make_region()
    return region.configure("llm_proxy.bounded_memory", arguments={"size": size})

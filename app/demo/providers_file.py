"""The providers file of the demo: the shipped one, with the demo provider in the place of those without a real key."""

from collections.abc import Collection
from pathlib import Path

import yaml

from config.providers import SHIPPED_FILE

_HEAD = "# Made at each start of the demo from the shipped providers file; changes here are lost.\n"


def write(path: Path, simulated: Collection[str], provider_url: str) -> None:
    """Raises OSError."""
    raw = yaml.safe_load(SHIPPED_FILE.read_text(encoding="utf-8"))
    for name in simulated:
        raw["apis"][name]["base_url"] = provider_url
    path.write_text(_HEAD + yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")

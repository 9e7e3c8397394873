"""The READMEs promise what tests show: each state in which an event can be lost or doubled names its tests."""

import re
from collections import Counter

from bus.ledger import Account
from tests.support.source_tree import ROOT

ROW = re.compile(r"^\| (?!what happens|---)(.+?) \|(.+)\|$", re.MULTILINE)
DEFINED = re.compile(r"^\s*(?:async )?(?:def|class) ((?:test_|Test)\w+)|^(Test\w+) = ", re.MULTILINE)


def rows() -> dict[str, list[str]]:
    """First cell to the last cell's names."""
    readme = (ROOT / "bus" / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| what happens |")[2].partition("\n\n")[0]
    return {row[1]: re.findall(r"`((?:test_|Test)\w+)`", row[2].rpartition("|")[2]) for row in ROW.finditer(table)}


def test_every_state_in_the_table_of_losses_names_a_test_that_exists() -> None:
    defined = Counter(
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for found in DEFINED.findall(path.read_text(encoding="utf-8"))
        for name in found
        if name
    )

    assert len(rows()) >= 18
    assert [what for what, tests in rows().items() if not tests] == []
    assert [name for tests in rows().values() for name in tests if defined[name] != 1] == []


def test_the_readme_names_every_part_of_the_ledger() -> None:
    promise = (ROOT / "README.md").read_text(encoding="utf-8").partition("### The promise")[2].partition("\n#")[0]
    parts = set(Account.__struct_fields__) - {"backend", "missing"}

    assert {part for part in parts if part not in promise} == set()

"""The short rounds: every kind of fault once, all of a deployment in one act, on its real processes.

embedded: SQLite, the log in the keeper, two workers. postgres: instead of SQLite. small-disks: DATA_DIR, the spool and
the databases on tmpfs of their own, which needs root. redis: dispatchers of their own. forgetful-redis: a Redis that
loses what it was told; the spools have it.
"""

from typing import Any

import pytest

from tests.chaos.catalogue import kinds_for, only_for
from tests.chaos.fault import Kind
from tests.chaos.nemesis import Ended
from tests.chaos.rounds import failure_of, short_round, told
from tests.chaos.shapes import EMBEDDED, FORGETFUL_REDIS, POSTGRES, REDIS, SHAPES, SMALL_DISKS, Shape

ROUNDS = {shape.name: only_for(shape.name) for shape in (POSTGRES, SMALL_DISKS, REDIS, FORGETFUL_REDIS)}
ROUNDS[EMBEDDED.name] = kinds_for(EMBEDDED.name)

pytestmark = pytest.mark.slow


def _of(shape: str, *more: object) -> Any:
    """A test's parameters; all of a deployment run in the one process that plays its act."""
    return pytest.param(SHAPES[shape], *more, marks=pytest.mark.xdist_group(f"chaos-{shape}"))


@pytest.fixture(scope="module")
def played() -> dict[str, Ended]:
    """Each act is played once, by the first test that asks for it."""
    return {}


@pytest.fixture
def ended(shape: Shape, played: dict[str, Ended], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    if shape.name not in played:
        played[shape.name] = short_round(shape, ROUNDS[shape.name], tmp_path_factory.mktemp("chaos") / "act")
    return played[shape.name]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [_of(shape, kind) for shape, kinds in ROUNDS.items() for kind in kinds],
    ids=[f"{shape}-{kind.name}" for shape, kinds in ROUNDS.items() for kind in kinds],
)
def test_it_comes_through(ended: Ended, kind: Kind) -> None:
    assert failure_of(kind, ended) == ""


@pytest.mark.parametrize("shape", [_of(shape) for shape in ROUNDS], ids=list(ROUNDS))
def test_nothing_is_lost_doubled_or_made_up(ended: Ended) -> None:
    assert ended.is_good, told(ended)
    assert ended.verdict
    assert ended.verdict.acked > 100

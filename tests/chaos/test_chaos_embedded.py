"""The embedded deployment: SQLite, the log in the keeper, two workers."""

import pytest

from tests.chaos.catalogue import kinds_for
from tests.chaos.fault import Kind
from tests.chaos.nemesis import Ended
from tests.chaos.rounds import failure_of, short_round, told
from tests.chaos.shapes import EMBEDDED

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos-1")]
KINDS = kinds_for("embedded")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return short_round(EMBEDDED, KINDS, tmp_path_factory.mktemp("chaos") / "act")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_comes_through(kind: Kind, ended: Ended) -> None:
    assert failure_of(kind, ended) == ""


def test_nothing_is_lost_doubled_or_made_up(ended: Ended) -> None:
    assert ended.is_good, told(ended)
    assert ended.verdict and ended.verdict.acked > 100

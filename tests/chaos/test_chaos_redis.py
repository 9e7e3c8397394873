"""The deployment with Redis: dispatchers of their own, and a server that is frozen, killed, full or far away."""

import pytest

from tests.chaos.catalogue import only_for
from tests.chaos.fault import Kind
from tests.chaos.nemesis import Ended
from tests.chaos.rounds import failure_of, short_round, told
from tests.chaos.shapes import REDIS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos-redis")]
KINDS = only_for("redis")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return short_round(REDIS, KINDS, tmp_path_factory.mktemp("chaos") / "act")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_comes_through(kind: Kind, ended: Ended) -> None:
    assert failure_of(kind, ended) == ""


def test_nothing_is_lost_doubled_or_made_up(ended: Ended) -> None:
    assert ended.is_good, told(ended)
    assert ended.verdict and ended.verdict.acked > 100

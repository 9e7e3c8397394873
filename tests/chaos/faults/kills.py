"""Processes of the server that die, freeze, or are told to stop."""

import os
import signal
from collections.abc import Iterator
from random import Random

from tests.chaos.fault import kind
from tests.chaos.processes import below, freeze, kill
from tests.chaos.stage import Stage
from tests.support.llm_proxy import is_alive, is_ready
from tests.support.waiting import eventually

_BACK_S = 60.0  # a bound for machines that are busy with other things; the real times are in the reports


def _all_workers(stage: Stage, gone: int) -> bool:
    pids = stage.server.pids("proxy")
    return gone not in pids and len(pids) == 1 + stage.shape.workers


@kind()
def kill_worker(stage: Stage, dice: Random) -> Iterator[None]:
    victim = dice.choice(stage.workers())
    kill(victim)
    yield
    eventually(lambda: _all_workers(stage, victim), within_s=_BACK_S)


@kind()
def kill_all_workers(stage: Stage, dice: Random) -> Iterator[None]:
    victims = stage.workers()
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    yield
    eventually(lambda: all(_all_workers(stage, victim) for victim in victims), within_s=_BACK_S)


@kind()
def kill_worker_again_and_again(stage: Stage, dice: Random) -> Iterator[None]:
    """Each as soon as it is there: some die while they make their spool."""
    for _ in range(dice.randint(3, 5)):
        kill(dice.choice(stage.pids("proxy", at_least=2)[1:]))
        stage.hold(dice.uniform(0, 0.3))
    yield
    eventually(lambda: _all_workers(stage, 0), within_s=2 * _BACK_S)


@kind()
def kill_granian_main(stage: Stage, dice: Random) -> Iterator[None]:
    victims = stage.pids("proxy")
    kill(victims[0])
    yield
    eventually(lambda: is_ready(stage.url), within_s=_BACK_S)
    assert not any(is_alive(victim) for victim in victims), "a worker outlives its main and may hold the port"


@kind()
def kill_keeper(stage: Stage, dice: Random) -> Iterator[None]:
    kill(stage.pid("keeper"))
    yield
    eventually(lambda: stage.stats(), within_s=_BACK_S)


@kind()
def kill_keeper_again_and_again(stage: Stage, dice: Random) -> Iterator[None]:
    """Each at another moment of its start or of its work."""
    for _ in range(dice.randint(3, 5)):
        kill(stage.pid("keeper"))
        stage.hold(dice.uniform(0.1, 0.9))
    yield
    eventually(lambda: stage.stats(), within_s=2 * _BACK_S)


@kind()
def terminate_keeper(stage: Stage, dice: Random) -> Iterator[None]:
    victim = stage.pid("keeper")
    os.kill(victim, signal.SIGTERM)
    yield
    eventually(lambda: not is_alive(victim) and stage.stats(), within_s=_BACK_S)


@kind()
def terminate_worker(stage: Stage, dice: Random) -> Iterator[None]:
    victim = dice.choice(stage.workers())
    os.kill(victim, signal.SIGTERM)
    yield
    eventually(lambda: _all_workers(stage, victim), within_s=_BACK_S)


@kind(alone=True)
def kill_admin(stage: Stage, dice: Random) -> Iterator[None]:
    kill(stage.pid("admin"))
    answered = [stage.call() for _ in range(10)]
    yield
    assert answered == [200] * 10, f"the proxy felt the admin's death: {answered}"
    eventually(lambda: is_ready(f"http://127.0.0.1:{stage.admin_port}"), within_s=_BACK_S)


@kind(alone=True)
def kill_whole_tree(stage: Stage, dice: Random) -> Iterator[None]:
    """The container is gone; its disk is kept, and it is started again."""
    victims = below(stage.running.pid)
    stage.running.kill()
    yield
    eventually(lambda: not any(is_alive(victim) for victim in victims), within_s=_BACK_S)
    stage.start_server()


@kind(lasts_s=(0.5, 2.0))
def freeze_worker(stage: Stage, dice: Random) -> Iterator[None]:
    victim = dice.choice(stage.workers())
    try:
        freeze([victim], is_frozen=True)
        yield
    finally:
        freeze([victim], is_frozen=False)


@kind(lasts_s=(0.5, 3.0), alone=True)
def freeze_keeper(stage: Stage, dice: Random) -> Iterator[None]:
    """The request does not know that there is a keeper."""
    victim = stage.pid("keeper")
    try:
        freeze([victim], is_frozen=True)
        answered = [stage.call() for _ in range(20)]
        yield
    finally:
        freeze([victim], is_frozen=False)
    assert answered == [200] * 20, f"the proxy felt the keeper's absence: {answered}"


@kind(lasts_s=(0.5, 1.5))
def freeze_and_kill_keeper(stage: Stage, dice: Random) -> Iterator[None]:
    victim = stage.pid("keeper")
    freeze([victim], is_frozen=True)
    yield
    kill(victim)
    eventually(lambda: stage.stats(), within_s=_BACK_S)


@kind(alone=True, lasts_s=(0.1, 0.5))
def rolling_restart(stage: Stage, dice: Random) -> Iterator[None]:
    """SIGTERM under load; whoever was answered is recorded, and nothing is interrupted."""
    yield
    code = stage.running.stop()
    stage.start_server()
    assert code == 0, f"exit code {code}"


@kind(alone=True)
def second_keeper(stage: Stage, dice: Random) -> Iterator[None]:
    """It must refuse: two writers would corrupt the log."""
    first = stage.pid("keeper")
    code, said = stage.run_ours("_keeper", str(os.getpid()))
    yield
    assert code != 0 and "keeper" in said, f"a second keeper ended with {code}: {said[-500:]}"
    assert stage.pid("keeper") == first


@kind(alone=True)
def second_server(stage: Stage, dice: Random) -> Iterator[None]:
    code, said = stage.run_ours("server", "--addr", "127.0.0.1:0", "--no-admin")
    yield
    assert code != 0 and "already uses" in said, f"a second server ended with {code}: {said[-500:]}"

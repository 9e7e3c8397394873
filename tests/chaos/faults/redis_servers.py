"""Redis itself: frozen, killed, emptied, out of memory, or replaced by a replica that lacks the last events."""

from collections.abc import Iterator
from random import Random

from tests.chaos.fault import kind
from tests.chaos.redis_pair import RedisPair
from tests.chaos.stage import Stage
from tests.support.waiting import eventually

_REDIS = "redis"
_FORGETFUL = "forgetful-redis"


def _pair(stage: Stage) -> RedisPair:
    assert stage.redis
    return stage.redis


@kind(_REDIS, lasts_s=(0.5, 3.0), alone=True)
def freeze_redis(stage: Stage, dice: Random) -> Iterator[None]:
    """No request waits for it."""
    server = _pair(stage).primary
    try:
        server.freeze(is_frozen=True)
        answered = [stage.call() for _ in range(20)]
        yield
    finally:
        server.freeze(is_frozen=False)
    assert answered == [200] * 20, f"the proxy felt the absence of Redis: {answered}"


@kind(_REDIS, lasts_s=(6.0, 12.0), alone=True)
def freeze_redis_for_long(stage: Stage, dice: Random) -> Iterator[None]:
    """Longer than any answer is waited for: a client that sends again by itself would double everything."""
    server = _pair(stage).primary
    try:
        server.freeze(is_frozen=True)
        yield
    finally:
        server.freeze(is_frozen=False)


@kind(_REDIS, lasts_s=(0.5, 2.0), alone=True)
def pause_writes(stage: Stage, dice: Random) -> Iterator[None]:
    client = _pair(stage).primary.client()
    client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    try:
        yield
    finally:
        client.execute_command("CLIENT", "UNPAUSE")


@kind(_REDIS, alone=True)
def kill_redis(stage: Stage, dice: Random) -> Iterator[None]:
    """With AOF everysec: the page cache survives the process."""
    server = _pair(stage).primary
    server.kill()
    try:
        yield
    finally:
        server.start()


@kind(_FORGETFUL)
def kill_redis_without_persistence(stage: Stage, dice: Random) -> Iterator[None]:
    _pair(stage).empty()
    yield


@kind(_FORGETFUL)
def flush_all(stage: Stage, dice: Random) -> Iterator[None]:
    """By an operator, while all else goes on."""
    _pair(stage).primary.client().flushall()
    yield


@kind(_FORGETFUL, alone=True, lasts_s=(0.2, 1.0))
def fail_over_to_a_replica_that_lags(stage: Stage, dice: Random) -> Iterator[None]:
    """What was written since the partition is lost on the server, and comes again from the spools."""
    pair = _pair(stage)
    pair.with_replica()
    pair.part()
    for _ in range(20):
        stage.call()
    stage.hold(0.5)
    pair.primary.kill()
    yield
    pair.promote()


@kind(_FORGETFUL, alone=True, lasts_s=(0.5, 1.5))
def split_brain(stage: Stage, dice: Random) -> Iterator[None]:
    """The relay goes on writing to the old primary while the replica is one already."""
    pair = _pair(stage)
    replica = pair.with_replica()
    pair.part()
    replica.client().replicaof("NO", "ONE")
    yield
    pair.promote()


@kind(_REDIS, lasts_s=(0.5, 2.0))
def redis_out_of_memory(stage: Stage, dice: Random) -> Iterator[None]:
    """Nothing more may be written; what is there is delivered and acknowledged all the same."""
    client = _pair(stage).primary.client()
    used = int(client.info("memory")["used_memory"])
    client.config_set("maxmemory", max(1024 * 1024, used - 64 * 1024))
    try:
        yield
    finally:
        client.config_set("maxmemory", 0)


@kind(_REDIS, lasts_s=(1.5, 3.0))
def redis_may_evict(stage: Stage, dice: Random) -> Iterator[None]:
    """Somebody sets allkeys-lru: the relay gives it nothing more, and the spools keep what comes."""
    client = _pair(stage).primary.client()
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        eventually(lambda: (seen := stage.stats()) and seen.relay["is_bus_away"])
        yield
    finally:
        client.config_set("maxmemory-policy", "noeviction")


@kind(_REDIS)
def forget_scripts(stage: Stage, dice: Random) -> Iterator[None]:
    _pair(stage).primary.client().script_flush()
    yield


@kind(_REDIS)
def hang_up_on_clients(stage: Stage, dice: Random) -> Iterator[None]:
    client = _pair(stage).primary.client()
    with stage.ticking(lambda: client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")):
        yield


@kind(_FORGETFUL)
def destroy_a_group(stage: Stage, dice: Random) -> Iterator[None]:
    """It is made again at the beginning of what is still there: doubled, never lost."""
    client = _pair(stage).primary.client()
    client.xgroup_destroy(stage.stream, dice.choice(("database", "file", "webhook")))
    yield


@kind(_FORGETFUL, alone=True, lasts_s=(0.2, 1.0))
def fail_over_without_hanging_up(stage: Stage, dice: Random) -> Iterator[None]:
    """The old primary lives on as a replica and keeps its connections: only READONLY tells that it is none any more."""
    pair = _pair(stage)
    pair.with_replica()
    yield
    pair.swap()

"""Exchanges that are open when their worker dies, and upstreams that fail."""

import signal
from collections.abc import Iterator
from random import Random

from tests.chaos.fault import kind
from tests.chaos.processes import freeze, kill
from tests.chaos.stage import Stage
from tests.support.waiting import eventually

_STREAMS = 6


@kind(alone=True)
def kill_workers_mid_stream(stage: Stage, dice: Random) -> Iterator[None]:
    """Exactly one `interrupted` event per open exchange."""
    streams = [stage.open_stream() for _ in range(_STREAMS)]
    for victim in stage.workers():
        kill(victim)
    yield
    for stream in streams:
        stream.close()
    wanted = {stream.request_id for stream in streams}
    eventually(lambda: set(stage.cuts_in_file(wanted)) == wanted)
    assert stage.cuts_in_file(wanted) == {request_id: ["interrupted"] for request_id in wanted}


@kind(alone=True)
def clients_leave(stage: Stage, dice: Random) -> Iterator[None]:
    """All at once, in the middle of their streams: one event each, cut by the client."""
    streams = [stage.open_stream() for _ in range(_STREAMS)]
    for stream in streams:
        stream.close()
    yield
    wanted = {stream.request_id for stream in streams}
    eventually(lambda: set(stage.cuts_in_file(wanted)) == wanted)
    assert all(len(cuts) == 1 for cuts in stage.cuts_in_file(wanted).values())


@kind()
def kill_upstream(stage: Stage, dice: Random) -> Iterator[None]:
    """Cuts running replies and refuses connections until it is back."""
    stage.upstream.kill()
    yield
    stage.upstream.again()


@kind(lasts_s=(0.5, 2.0))
def freeze_upstream(stage: Stage, dice: Random) -> Iterator[None]:
    try:
        freeze([stage.upstream.pid], is_frozen=True)
        yield
    finally:
        freeze([stage.upstream.pid], is_frozen=False)


@kind()
def restart_upstream(stage: Stage, dice: Random) -> Iterator[None]:
    stage.upstream.stop(signal.SIGTERM)
    yield
    stage.upstream.again()

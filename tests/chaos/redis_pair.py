"""Redis as a round has it: a primary and a replica, each behind a proxy that can spoil the way to it.

    relay, dispatchers ──► front ──► primary ◄── between ── replica

A failover is what a managed service does: the replica is promoted, and the name (`front`) leads to it from then on.
"""

import shutil

from tests.chaos.ports import Port
from tests.chaos.toxics import Toxics
from tests.support.redis_server import RedisServer, binaries
from tests.support.waiting import eventually

_AOF = ("--appendonly", "yes", "--appendfsync", "everysec", "--repl-diskless-sync-delay", "0", "--repl-timeout", "60")


class RedisPair:
    def __init__(self, seed: int) -> None:
        """Redis and Valkey take turns with the seed, where both are there."""
        programs = list(binaries().values())
        self._program = programs[seed % len(programs)]
        self._ports: list[Port] = []
        self.primary = self._new()
        self.replica: RedisServer | None = None
        self.front = Toxics(self.primary.port)
        self.between = Toxics(self.primary.port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.front.port}/0"

    def with_replica(self) -> RedisServer:
        """One that has all that the primary has, made at its first use."""
        if self.replica is None:
            self.between.mode, self.between.target = "pass", self.primary.port
            self.replica = self._new()
            self.replica.client().replicaof("127.0.0.1", self.between.port)
        replica = self.replica.client()
        eventually(lambda: replica.info("replication")["master_link_status"] == "up")
        behind = self.primary.client()
        eventually(lambda: behind.execute_command("WAIT", "1", "1000") == 1)
        return self.replica

    def part(self) -> None:
        """The replica gets nothing any more, and the primary does not know."""
        self.between.mode = "black-hole"

    def promote(self) -> None:
        """The replica becomes the primary, with what it has; the name leads to it."""
        assert self.replica
        self.replica.client().replicaof("NO", "ONE")
        old, self.primary, self.replica = self.primary, self.replica, None
        self.front.move_to(self.primary.port)
        self.between.cut()
        old.remove()

    def swap(self) -> None:
        """A failover by the book: nobody is killed, nothing is lost, and no connection is closed."""
        assert self.replica
        self.replica.client().replicaof("NO", "ONE")
        self.primary, self.replica = self.replica, self.primary
        self.between.move_to(self.primary.port)
        self.replica.client().replicaof("127.0.0.1", self.between.port)
        self.front.target = self.primary.port

    def empty(self) -> None:
        """Killed, its files gone, started again."""
        self.primary.kill()
        for path in self.primary.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.primary.start()

    def close(self) -> None:
        for toxics in (self.front, self.between):
            toxics.close()
        for server in (self.primary, self.replica):
            if server:
                server.remove()
        for port in self._ports:
            port.close()

    def _new(self) -> RedisServer:
        self._ports.append(Port())
        return RedisServer(self._program, *_AOF, port=self._ports[-1].number)

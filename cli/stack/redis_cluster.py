"""A Redis Cluster on 127.0.0.1 for tests and for trying out: three masters, each with a replica, and what can befall them."""

from __future__ import annotations

import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from redis import Redis
from redis.exceptions import RedisError

from cli.stack.child import ServerFailed
from cli.stack.ports import HOST, free_port
from cli.stack.redis_server import EmbeddedRedis
from schemas.errors import InvalidInput

SLOTS: Final = 16_384
_POLL_SECONDS: Final = 0.02
_START_SECONDS: Final = 30.0  # it takes about three, most of it the nodes' gossip

# A node that is silent for so long is taken for dead, and about a second later its replica takes over. Production wants
# the default of 15 s: a master that forks for its append-only file must not lose its place.
NODE_TIMEOUT_MS: Final = 1_500


class EmbeddedRedisCluster:
    """Masters and replicas as child processes, running inside ``with``, or from ``start`` to ``close``.

    Args:
        folder: where the nodes keep their append-only files; None keeps nothing, and a node killed comes back empty.
        masters: so many share the slots evenly; each has one replica.
        binary: another server to run, such as a system's ``redis-server`` (7.0.1 or newer).
    """

    def __init__(
        self, folder: Path | None = None, *, masters: int = 3, binary: str | Path | None = None
    ) -> None:
        self._masters = masters
        self._frozen: set[int] = set()  # by port
        self.nodes = [
            EmbeddedRedis(
                None if folder is None else folder / f"node-{number}",
                binary=binary,
                settings={
                    "cluster-enabled": "yes",
                    "cluster-node-timeout": str(NODE_TIMEOUT_MS),
                    # However long a replica was cut off, it may take over: what it lacks is replayed from Kafka.
                    "cluster-replica-validity-factor": "0",
                    "repl-diskless-sync-delay": "0",  # the default waits 5 s for more replicas
                    "repl-ping-replica-period": "1",  # a replica is not announced before its first; default 10 s
                    "cluster-port": str(free_port()),  # the default, port + 10,000, may belong to somebody
                },
            )
            for number in range(2 * masters)
        ]

    @property
    def url(self) -> str:
        """Any node that answers; clients learn of the others from it."""
        return self._answering().url

    def start(self) -> Self:
        """Start and join all nodes; returns when every slot is served and every replica follows its master.

        Raises:
            ServerFailed: that did not happen in time.
        """
        try:
            for node in self.nodes:
                node.start()
            if self._ask(self.nodes[0], "CLUSTER", "INFO").count(b"cluster_known_nodes:1\r"):
                self._join()
            self._until(self._whole, "not every slot is served, or not every replica follows")
        except BaseException:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Kill all nodes. Closing twice is fine."""
        for node in self.nodes:
            with contextlib.suppress(InvalidInput):
                self.thaw(node)
            node.close(grace_seconds=0.0)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def master_of(self, key: str) -> EmbeddedRedis:
        """The node that serves a key now, as the nodes that run see it."""
        asked = self._answering()
        slot = int(self._ask(asked, "CLUSTER", "KEYSLOT", key))
        for first, last, (_, port, *_), *_ in self._ask(asked, "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return self._at(port)
        raise InvalidInput(f"Nobody serves slot {slot}, that of '{key}', at the moment.")

    def replica_of(self, master: EmbeddedRedis) -> EmbeddedRedis:
        """The replica of a master that runs."""
        identity = self._identity(master)
        [line] = self._ask(master, "CLUSTER", "REPLICAS", identity)
        address = (line if isinstance(line, str) else line.decode()).split()[1]
        return self._at(int(address.split("@")[0].rpartition(":")[2]))

    def freeze(self, node: EmbeddedRedis) -> None:
        """Stop its process in the middle of what it does (SIGSTOP): connections stand, nothing answers."""
        node.signal(signal.SIGSTOP)
        self._frozen.add(node.port)

    def thaw(self, node: EmbeddedRedis) -> None:
        """Let a frozen node go on."""
        node.signal(signal.SIGCONT)
        self._frozen.discard(node.port)

    def stop_replication(self, master: EmbeddedRedis) -> None:
        """Cut its replica off: from now on it keeps what it has, and gets nothing more of what the master takes."""
        # Refused to the default user, whom replicas use; a kill alone would make the replica connect again.
        self._ask(master, "ACL", "SETUSER", "default", "-psync", "-sync")
        self._ask(master, "CLIENT", "KILL", "TYPE", "replica")

    def take_over(self, replica: EmbeddedRedis) -> None:
        """Make a replica the master of its slots by force, whatever it lacks; returns when all others know."""
        self._ask(replica, "CLUSTER", "FAILOVER", "TAKEOVER")
        self._until_masters(replica)

    def wait_for_failover(self, replica: EmbeddedRedis, seconds: float = _START_SECONDS) -> None:
        """Wait until the others have elected a replica to the place of its lost master.

        Raises:
            ServerFailed: they have not, within ``seconds``.
        """
        self._until_masters(replica, seconds)

    def _join(self) -> None:
        masters, replicas = self.nodes[: self._masters], self.nodes[self._masters :]
        for number, (node, (first, last)) in enumerate(zip(masters, _ranges(self._masters), strict=True)):
            self._ask(node, "CLUSTER", "ADDSLOTSRANGE", first, last)
            # Different from the beginning: nodes that meet with equal ones must agree first on who is newer.
            self._ask(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        # Everybody meets everybody: left to gossip, a node may hear of the last one only after seconds.
        buses = [(node.port, self._bus_port(node)) for node in self.nodes]
        for index, node in enumerate(self.nodes):
            for port, bus in buses[:index]:
                self._ask(node, "CLUSTER", "MEET", HOST, port, bus)
        known = f"cluster_known_nodes:{len(self.nodes)}\r".encode()
        self._until(
            lambda: all(known in self._ask(node, "CLUSTER", "INFO") for node in self.nodes),
            "the nodes do not know each other",
        )
        for master, replica in zip(masters, replicas, strict=True):
            self._ask(replica, "CLUSTER", "REPLICATE", self._identity(master))

    def _whole(self) -> bool:
        """Whether every node sees all slots served, each by a master with a replica, and every replica is in step."""
        for node in self.nodes:
            if b"cluster_state:ok" not in self._ask(node, "CLUSTER", "INFO"):
                return False
            slots = self._ask(node, "CLUSTER", "SLOTS")
            if sum(last - first + 1 for first, last, *_ in slots) < SLOTS or any(len(s) < 4 for s in slots):
                return False
            replication = self._ask(node, "INFO", "replication")
            if b"role:slave" in replication and b"master_link_status:up" not in replication:
                return False
        return True

    def _until_masters(self, node: EmbeddedRedis, seconds: float = _START_SECONDS) -> None:
        def promoted() -> bool:
            others = [other for other in self.nodes if self._answers(other)]
            return all(
                b"cluster_state:ok" in self._ask(other, "CLUSTER", "INFO")
                and node.port in {port for _, _, (_, port, *_), *_ in self._ask(other, "CLUSTER", "SLOTS")}
                for other in others
            )

        self._until(promoted, f"the node on port {node.port} has not taken over", seconds)

    def _answering(self) -> EmbeddedRedis:
        found = next((node for node in self.nodes if self._answers(node)), None)
        if found is None:
            raise InvalidInput("No node of the embedded Redis Cluster runs; start it first.")
        return found

    def _answers(self, node: EmbeddedRedis) -> bool:
        return node.running and node.port not in self._frozen

    def _at(self, port: int) -> EmbeddedRedis:
        return next(node for node in self.nodes if node.port == port)

    def _identity(self, node: EmbeddedRedis) -> str:
        return str(self._ask(node, "CLUSTER", "MYID").decode())

    def _bus_port(self, node: EmbeddedRedis) -> int:
        return int(self._ask(node, "CONFIG", "GET", "cluster-port")[1])

    def _until(self, condition: Callable[[], bool], what: str, seconds: float = _START_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(RedisError, OSError):
                if condition():
                    return
            if time.monotonic() > deadline:
                raise ServerFailed(
                    f"The embedded Redis Cluster: {what}, after {seconds:g} s.\n{self._views()}"
                )
            time.sleep(_POLL_SECONDS)

    def _views(self) -> str:
        """What each node that answers sees of the others, and how its replication stands, for the message of a failure."""
        views: list[str] = []
        for node in filter(self._answers, self.nodes):
            with contextlib.suppress(RedisError, OSError):
                view = self._ask(node, "CLUSTER", "NODES")
                replication = self._ask(node, "INFO", "replication")
                views.append(f"as port {node.port} sees it:\n{_text(view)}{_text(replication)}")
        return "\n".join(views)

    def _ask(self, node: EmbeddedRedis, *words: str | int) -> Any:
        """A node's answer as it is: redis-py would parse some of them, depending on its version."""
        with Redis(host=HOST, port=node.port, protocol=2, socket_timeout=2.0) as client:
            client.response_callbacks.clear()
            execute: Callable[..., Any] = client.execute_command
            return execute(*words)


def _ranges(masters: int) -> Sequence[tuple[int, int]]:
    bounds = [SLOTS * number // masters for number in range(masters + 1)]
    return [(first, after - 1) for first, after in itertools.pairwise(bounds)]


def _text(answer: str | bytes) -> str:
    return answer if isinstance(answer, str) else answer.decode()

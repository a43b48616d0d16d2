"""Carries out one fault after the other, and says when streams may have ended because of it."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.stack.child import Child
from tests.chaos.surroundings import LARGEST_LOSS, Surroundings
from tests.stack import process_environment
from tests.tcp_proxy import TcpProxy
from tests.watching.belief import Shared
from tests.watching.faults import VIOLENT, Fault, Kind
from tests.watching.network import Network

_REBUILD_SECONDS: Final = 120.0
_NOTICED_SECONDS: Final = 5.0  # until the last client has noticed that its connection is gone
_STORMS: Final = 3


@dataclass(slots=True)
class Spans:
    """Times during which something was allowed."""

    spans: list[tuple[float, float]] = field(default_factory=list)

    def __contains__(self, moment: float) -> bool:
        return any(begin <= moment <= end for begin, end in self.spans)

    def add(self, begin: float, end: float) -> None:
        self.spans.append((begin, end))


class Conductor:
    """Does what is planned, one fault at a time; ``carry_out`` returns when a fault's effect is to be got over."""

    def __init__(
        self,
        *,
        network: Network,
        surroundings: Surroundings,
        shared: Shared,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self.done: Counter[Kind] = Counter()
        self.violent = Spans()
        self._network = network
        self._surroundings = surroundings
        self._shared = shared
        self._folder = folder
        self._say = say
        self._kept_bytes = 0  # of Redis' file: what a loss must not reach
        self._forwarders: Sequence[TcpProxy] = list(network.forwarders.values())

    def carry_out(self, fault: Fault) -> float:
        """The moment (seconds since 1970) from which getting over it is counted.

        Raises:
            ScoreStreamError: a process did not come back.
        """
        self._say(f"{fault.number} {fault.kind.value}")
        begin = time.time()
        counted = self._do(fault)
        if fault.kind in VIOLENT:
            self.violent.add(begin, time.time() + _NOTICED_SECONDS)
        self.done[fault.kind] += 1
        return counted

    def _do(self, fault: Fault) -> float:
        network = self._network
        match fault.kind:
            case Kind.GATEWAY_KILLED:
                network.nodes[fault.node].kill()
                return time.time()
            case Kind.GATEWAYS_KILLED:
                for node in network.nodes:
                    node.kill()
                return time.time()
            case Kind.ROLLING_RESTART:
                network.wait_until_ready(network.nodes)  # nobody begins one while a node is missing
                for node in network.nodes:
                    network.restart(node)
            case Kind.REDIS_KILLED | Kind.REDIS_LOSES_TAIL:
                self._restart_redis(fault)
            case Kind.REBUILD:
                self._rebuild(fault.number)
            case Kind.CUT:
                self._cut(fault)
                return time.time()
            case Kind.STORM:
                for _ in range(_STORMS):
                    for forwarder in self._forwarders:
                        forwarder.cut()
                    time.sleep(fault.seconds)
            case Kind.SILENCE:
                for client in fault.clients:
                    self._forwarders[client].pause()
                time.sleep(fault.seconds)
                for client in fault.clients:
                    self._forwarders[client].resume()
        return time.time()

    def _cut(self, fault: Fault) -> None:
        for client in fault.clients:
            self._forwarders[client].cut()

    def _restart_redis(self, fault: Fault) -> None:
        self._surroundings.kill_redis()
        if fault.kind is Kind.REDIS_LOSES_TAIL:
            # Mostly little, and never what came before the last flip: that would be another story.
            since_the_flip = max(0, self._surroundings.redis_log_bytes - self._kept_bytes)
            lost = self._surroundings.lose_redis_tail(min(fault.share**3, since_the_flip / 2 / LARGEST_LOSS))
            self._say(f"{lost:,} bytes of Redis' file are lost")
        time.sleep(fault.seconds)
        if fault.kind is Kind.REDIS_LOSES_TAIL:
            self._shared.rollbacks.append(time.time())
        self._surroundings.start_redis()

    def _rebuild(self, number: int) -> None:
        child = Child(
            "scores rebuild",
            [sys.executable, "-m", "cli", "rebuild"],
            cwd=self._folder,
            log=self._folder / f"rebuild-{number}.log",
            env=process_environment(self._surroundings.kafka, self._surroundings.redis.url),
        )
        try:
            if not child.wait(_REBUILD_SECONDS) or child.exit_status != 0:
                raise child.failure("did not bring new tables")
        finally:
            child.stop(0.0)
        self._kept_bytes = self._surroundings.redis_log_bytes

"""Two gateways, and before them a load balancer as small as can be: one forwarder for each client."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

import httpx

from cli.stack.child import Child
from cli.stack.ports import free_port
from gateway.development_issuer import DevelopmentIssuer
from gateway.issuers import DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER
from schemas.access.permissions import Grant
from schemas.access.roles import READER_ROLE
from schemas.errors import DependencyUnavailable
from schemas.identifiers import OrganizationId
from tests.chaos.fleet import WorkerSlot
from tests.stack import process_environment
from tests.tcp_proxy import HOST, TcpProxy

_ROOT: Final = Path(__file__).parents[2]
_LOOK_SECONDS: Final = 0.1
_END_SECONDS: Final = 15.0  # a drain takes one, and half a second for the last frames
_READY_SECONDS: Final = 30.0


class Node(WorkerSlot):
    """One gateway, started again on its port whenever it ends."""

    def __init__(self, name: str, port: int, environment: dict[str, str], folder: Path) -> None:
        self.port = port
        self.ready = False  # as of the balancer's last look
        settings = {**environment, "SCORES_GATEWAY_PORT": str(port)}
        command = [sys.executable, "-m", "gateway"]

        def launch(start: int) -> Child:
            return Child(name, command, cwd=_ROOT, log=folder / f"{name}.{start}.log", env=settings)

        super().__init__(name, launch, folder)

    def ask_whether_ready(self, client: httpx.Client) -> None:
        """What a load balancer asks."""
        try:
            self.ready = client.get(f"http://{HOST}:{self.port}/readyz").status_code == 200
        except httpx.HTTPError:
            self.ready = False


class Network:
    """Gateways and forwarders inside ``with``. New connections go to a ready gateway, drawn anew each moment.

    Args:
        clients: their names; each reaches the gateways through a forwarder of its own.
        settings: of the gateways.
        attended: what else is to be started and supervised, such as the worker.
        say: called with a line whenever a process ended or started.
    """

    def __init__(
        self,
        clients: Sequence[str],
        *,
        kafka: str,
        redis_url: str,
        folder: Path,
        settings: dict[str, str],
        attended: Sequence[WorkerSlot],
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        self._issuer = DevelopmentIssuer(
            folder / "issuer",
            issuer=DEVELOPMENT_ISSUER,
            audience=DEVELOPMENT_AUDIENCE,
            environment="development",
        )
        environment = process_environment(
            kafka, redis_url, SCORES_JWKS_FILE=str(self._issuer.jwks_file), **settings
        )
        self.nodes = [Node(f"gateway-{number}", free_port(), environment, folder) for number in range(2)]
        self.forwarders = {name: TcpProxy(self.nodes[0].port) for name in clients}
        self._attended = [*self.nodes, *attended]
        self._random = random.Random(f"balancer {seed}")
        self._say = say
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._balance, name="balancer"),
            threading.Thread(target=self._supervise, name="supervisor"),
        ]

    def token(self, organization: OrganizationId) -> str:
        """A token to read an organization and what is below it."""
        return self._issuer.issue("watcher", [Grant(READER_ROLE, organization)], timedelta(hours=8))

    def address(self, client: str) -> str:
        """Where a client finds the gateways."""
        return f"http://{self.forwarders[client].address}"

    def restart(self, node: Node) -> None:
        """SIGTERM, and wait until the next one on that port is ready.

        Raises:
            DependencyUnavailable: it did not end, or the next did not get ready.
        """
        node.leave()
        _wait(lambda: node.pid is None, _END_SECONDS, f"{node.name} has not ended after SIGTERM")
        node.ready = False
        node.come_back()
        self.wait_until_ready([node])

    def wait_until_ready(self, nodes: Sequence[Node]) -> None:
        """Return when all of these are.

        Raises:
            DependencyUnavailable: one is not.
        """
        for node in nodes:
            _wait(lambda node=node: node.ready, _READY_SECONDS, f"{node.name} is not ready")  # type: ignore[misc]  # bound now

    def __enter__(self) -> Self:
        for slot in self._attended:
            slot.start()
        for forwarder in self.forwarders.values():
            forwarder.start()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for forwarder in self.forwarders.values():
            forwarder.close()
        for slot in self._attended:
            slot.end()

    def _balance(self) -> None:
        with httpx.Client(timeout=2, trust_env=False) as client:
            while not self._stopped.wait(_LOOK_SECONDS):
                for node in self.nodes:
                    node.ask_whether_ready(client)
                # With none ready all of them are tried, as balancers do.
                ready = [node for node in self.nodes if node.ready] or self.nodes
                for forwarder in self.forwarders.values():
                    forwarder.lead_to(self._random.choice(ready).port)

    def _supervise(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            for slot in self._attended:
                if line := slot.supervise():
                    self._say(line.splitlines()[0])


def _wait(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DependencyUnavailable(f"{otherwise} within {seconds:g} s")
        time.sleep(0.02)

"""Two webhook workers under supervision, one delivers and the other stands by; and the relay that feeds them, if there is one."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from redis import Redis
from redis.exceptions import RedisError

from cli.stack.child import Child
from schemas.webhooks.keys import LEASE
from tests.chaos.fleet import WorkerSlot
from tests.stack import process_environment
from tests.webhook_fleet.fleet import KEY

_ROOT: Final = Path(__file__).parents[2]
_LOOK_SECONDS: Final = 0.05

RELAY: Final = (sys.executable, "-m", "streams.relay")
WORKER: Final = (sys.executable, "-m", "consumers.webhooks")
LEASE_SECONDS: Final = 2.0
# Minutes have to show what takes days: everything that a worker waits for is short.
SETTINGS: Final[Mapping[str, str]] = {
    "SCORES_WEBHOOK_KEY": KEY,
    "SCORES_WEBHOOK_ALLOW_PRIVATE": "yes",
    "SCORES_WEBHOOKS_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "SCORES_RELAY_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    # So many that none is given up: who is dead until the end comes back without anybody's doing.
    "SCORES_WEBHOOK_SCHEDULE": ",".join(map(str, (0, 1, 2, 3, *[5] * 6, *[20] * 20))),
    "SCORES_WEBHOOK_ATTEMPT_SECONDS": "4",
    "SCORES_WEBHOOK_BREAKER_SECONDS": "2",
    "SCORES_WEBHOOK_BREAKER_LONGEST_SECONDS": "8",
}


class Workers:
    """The workers' processes, inside ``with``.

    Args:
        relay: whether there is one.
        fault: the workers have it, to see that it is noticed; None for the real ones.
        say: called with a line whenever a process ended or started.
    """

    def __init__(
        self,
        kafka: str,
        redis_url: str,
        folder: Path,
        say: Callable[[str], None],
        *,
        relay: bool,
        fault: str | None = None,
    ) -> None:
        audit = str(folder / "audit")
        self._environment = process_environment(kafka, redis_url, SCORES_AUDIT_DIR=audit, **SETTINGS)
        command: Sequence[str] = WORKER
        if fault is not None:
            command = [sys.executable, "-m", "tests.webhook_fleet.faulty_worker"]
            self._environment["FLEET_FAULT"] = fault
        self._folder = folder
        self._redis_url = redis_url
        self._say = say
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor")
        self.slots = [self._slot(f"webhooks-{number}", command) for number in range(2)]
        self.relay = self._slot("relay", RELAY) if relay else None
        self._attended = [*self.slots, *([self.relay] if self.relay else [])]

    @property
    def crashes(self) -> list[str]:
        """Why workers, or the relay, ended by themselves."""
        return [crash for slot in self._attended for crash in slot.crashes]

    def errors(self) -> list[str]:
        """What they logged as somebody's business; a season in which all comes right has nothing of the kind."""
        return [
            f"{log.name}: {line}"
            for slot in self._attended
            for log in slot.logs
            for line in log.read_text(errors="replace").splitlines()
            if " ERROR " in line
        ]

    @property
    def beyond_help(self) -> bool:
        """Whether one ended because its settings are wrong."""
        return any(slot.beyond_help for slot in self._attended)

    def delivering(self) -> WorkerSlot:
        """The one that holds the lease; the first when nobody does."""
        with suppress(RedisError), Redis.from_url(self._redis_url, socket_timeout=2) as redis:
            numbers = re.findall(r"[0-9]+", (redis.get(LEASE) or b"").decode(errors="replace"))
            for slot in self.slots:
                if str(slot.pid) in numbers:
                    return slot
        return self.slots[0]

    def __enter__(self) -> Self:
        for slot in self._attended:
            slot.start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self._thread.join()
        for slot in self._attended:
            slot.end()

    def _slot(self, name: str, command: Sequence[str]) -> WorkerSlot:
        def launch(start: int) -> Child:
            log = self._folder / f"{name}.{start}.log"
            return Child(name, list(command), cwd=_ROOT, log=log, env=self._environment)

        return WorkerSlot(name, launch, self._folder)

    def _supervise(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            for slot in self._attended:
                if line := slot.supervise():
                    self._say(line.splitlines()[0])

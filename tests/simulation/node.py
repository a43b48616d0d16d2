"""One worker process: the real ``streams.worker.Worker``, and around it what Faust and the operating system do."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from faust.types import TP

from schemas.errors import DependencyUnavailable
from schemas.keys import Generation, PartitionKeys, new_generation
from schemas.topics import EXAM_RESULTS
from simulation.cast import LATE_SCHOOL, SCHOOLS, cast
from simulation.log import LogRecord, OffsetOutOfRange
from simulation.scheduling import Task, turn
from simulation.store import Answer, FakeTables, packed
from streams.closings import never_closed
from streams.metrics import Metrics
from streams.partitions import Batch
from streams.reading import Reader, Rejection
from streams.tables import Change, Claim
from streams.worker import Worker

if TYPE_CHECKING:
    from simulation.world import World

_QUEUED_AT_MOST = 3
_BATCH_AT_MOST = 7


class Down(DependencyUnavailable):
    """A call failed, as the client would say after its own retries."""


@cache
def shared_metrics() -> Metrics:
    """One for all workers: nobody looks at them here, and making one costs more than a schedule."""
    return Metrics()


class Node:
    """A process that is started, assigned partitions, stopped, killed and started again."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.number = number
        self.alive = False
        self.given: frozenset[int] = frozenset()  # the group's last division, whether it was told or not
        self.told: frozenset[int] | None = None  # an assignment on its way
        self.assigned: frozenset[int] = frozenset()  # what it believes
        self._asleep_until_ms = 0

    def __repr__(self) -> str:
        return f"worker {self.number}"

    # The life of a process.

    def start(self) -> None:
        """A fresh process that has nothing yet."""
        self.alive = True
        self.told = None
        self.assigned = frozenset()
        self.fetching = False
        self.starts: dict[int, int] = {}
        self.fetched_to: dict[int, int] = {}
        self.queues: dict[int, deque[Batch]] = {}
        self._last: dict[int, Batch] = {}
        self._busy: set[int] = set()
        self._joining = False
        self.directory = NodeDirectory(self)
        world, shared = self.world, cast()
        self.worker = Worker(
            tables=NodeTables(self),
            serving=self._serving,
            reader=Reader(shared.registry, shared.pseudonyms, self.directory.is_school, world.attribution),
            directory=self.directory,
            closings=never_closed(),
            reject=self._reject,
            metrics=shared_metrics(),
            log_ends=self._log_ends,
            clock=world.scheduler,
        )

    def kill(self) -> None:
        """End at once, wherever it is. What it has sent may still arrive."""
        self.alive = False
        for task in self.tasks():
            self._leave_request(task)
            self.world.scheduler.discard(task)

    def terminate(self) -> None:
        """SIGTERM: what is under way is applied or abandoned whole; nothing new is begun."""
        self.alive = self.fetching = False
        self.told = None
        for queue in self.queues.values():
            queue.clear()
        for task in self.tasks():
            if self.world.rng.random() < 0.5:
                self._leave_request(task)
                self.world.scheduler.resume(task, asyncio.CancelledError())

    def _leave_request(self, task: Task) -> None:
        if task.request is not None and self.world.faults.befalls("late request of a dead worker"):
            late = self.world.arrive_late(task.request)
            self.world.scheduler.spawn(None, f"late request of {self}", late)

    def sleep(self, milliseconds: int) -> None:
        """SIGSTOP until then; it knows nothing of what happens meanwhile."""
        self._asleep_until_ms = self.world.scheduler.now_ms() + milliseconds
        for task in self.tasks():
            task.wake_ms = max(task.wake_ms, self._asleep_until_ms)

    @property
    def awake(self) -> bool:
        """Whether the process runs."""
        return self.alive and self.world.scheduler.now_ms() >= self._asleep_until_ms

    def tasks(self) -> list[Task]:
        """What it has under way."""
        return [task for task in self.world.scheduler.tasks if task.owner is self]

    # Membership and fetching.

    def hear(self) -> None:
        """The assignment arrives: claim, seek, read on."""
        if self.told is None or self._joining:
            return
        self.assigned, self.told = self.told, None
        self.fetching, self._joining = False, True
        if self.world.rng.random() < 0.5:
            for queue in self.queues.values():
                queue.clear()
        self._spawn(f"claims {sorted(self.assigned)}", self._join(self.assigned))

    async def _join(self, assigned: frozenset[int]) -> None:
        positions = await self.worker.positions(frozenset(TP(EXAM_RESULTS, number) for number in assigned))
        log = self.world.log
        starts = {
            tp: log.partitions[tp.partition].start if offset is None else offset
            for tp, offset in positions.items()
        }
        self.worker.sought(starts)
        self.starts = {tp.partition: offset for tp, offset in starts.items()}
        self.fetched_to = dict(self.starts)
        self.fetching, self._joining = True, False
        self.world.say(f"{self} reads from {self.fetched_to}")

    def fetch(self, number: int) -> bool:
        """Fetch some records of a partition and queue them as a batch; False when there is nothing to do."""
        queue = self.queues.setdefault(number, deque())
        if not self.fetching or number not in self.fetched_to or len(queue) >= _QUEUED_AT_MOST:
            return False
        start = self.fetched_to[number]
        try:
            records = self.world.log.fetch(number, start, self.world.rng.randint(1, _BATCH_AT_MOST))
        except OffsetOutOfRange as error:
            self._failed(error)
            return False
        if not records:
            return False
        batch = self._last[number] = Batch(EXAM_RESULTS, number, start, records)
        self.fetched_to[number] = batch.next
        self.deliver(batch)
        return True

    def deliver(self, batch: Batch) -> None:
        """Queue a batch for its agent."""
        self.queues[batch.partition].append(batch)
        if batch.partition not in self._busy:
            self._busy.add(batch.partition)
            self._spawn(f"applies {batch.partition}", self._lane(batch.partition))

    def lose_batch(self, number: int) -> bool:
        """A batch that was fetched never reaches its agent."""
        queue = self.queues.get(number)
        if not queue:
            return False
        queue.popleft()
        return True

    def repeat_batch(self, number: int) -> bool:
        """The last batch once more, as it was."""
        if number not in self._last or number not in self.fetched_to:
            return False
        self.deliver(self._last[number])
        return True

    def rewind(self, number: int) -> bool:
        """Fetch from an earlier offset again; the stamp says so."""
        if number not in self.fetched_to or not self.fetching:
            return False
        start = self.world.log.partitions[number].start
        self.fetched_to[number] = self.world.rng.randint(start, max(start, self.fetched_to[number]))
        return True

    async def _lane(self, number: int) -> None:
        queue = self.queues[number]
        task = self.world.scheduler.current
        assert task is not None
        while queue:
            batch = queue.popleft()
            task.rejected = frozenset()
            self.world.say(f"{self} applies {number}: {batch.start} to {batch.next}")
            seek_to = await self.worker.apply(batch)
            if seek_to is not None:
                self.world.say(f"{self} seeks {number} back to {seek_to}")
                self.fetched_to[number] = seek_to
        self._busy.discard(number)

    def progress(self) -> None:
        """The timer that reports how far the partitions are complete."""
        if self.fetching:
            self._spawn("reports progress", self._report())

    async def _report(self) -> None:
        seen_ms = self.world.scheduler.now_ms()
        at = self.worker.positions_now()
        ends = {number: self.world.log.last(number) for number in at}
        caught_up = frozenset(number for number, position in at.items() if position >= ends[number])
        for number, offset in (await self.worker.report_progress(caught_up, seen_ms)).items():
            self.world.say(f"{self} seeks {number} back to {offset}")
            self.fetched_to[number] = offset
        if await self.worker.displaced() and not self._joining:
            self.world.say(f"{self} takes other tables over")
            self.fetching, self._joining = False, True
            await self._join(self.assigned)

    def _spawn(self, name: str, coroutine: Any) -> None:
        self.world.scheduler.spawn(self, f"{self} {name}", coroutine, self._failed)

    def _failed(self, error: BaseException) -> None:
        self.world.failed(self, error)

    # What the worker is given.

    async def _serving(self) -> Generation:
        world = self.world
        name = new_generation(world.scheduler.now_ms(), world.attribution)
        return Generation(await self.call(lambda: world.store.values.setdefault("generation", name)))

    async def _log_ends(self, partitions: Collection[int]) -> Mapping[int, int]:
        await turn()
        return {number: self.world.log.partitions[number].end for number in partitions}

    async def _reject(self, rejections: Sequence[Rejection], number: int) -> None:
        world = self.world
        await turn()
        if world.faults.befalls("rejecting failed"):
            raise Down("rejected topic")
        for rejection in rejections:
            record = rejection.record
            assert isinstance(record, LogRecord)
            world.put_rejected(self, number, record, rejection.reason)
        await turn()
        if world.faults.befalls("rejecting failed after all"):
            raise Down("rejected topic, after it was written")
        task = world.scheduler.current
        assert task is not None
        task.rejected |= {rejection.record.offset for rejection in rejections}

    async def call(self, operation: Callable[[], Answer]) -> Answer:
        """A request to the store and its answer, with all that can happen to either."""
        faults, task = self.world.faults, self.world.scheduler.current
        assert task is not None
        task.request = operation
        await turn()
        if faults.befalls("slow"):
            for _ in range(self.world.rng.randint(1, 12)):
                await turn()
        task.request = None
        if faults.befalls("request lost"):
            raise Down("request lost")
        answer = operation()
        if faults.befalls("sent twice"):
            answer = operation()
        if faults.befalls("answer lost"):
            raise Down("answer lost")
        await turn()
        return answer


class NodeTables(FakeTables):
    """The tables as one process reaches them; every write that is let through is looked at."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.world.store, node.world.log.identity, node.call)
        self._node = node

    async def apply(self, keys: PartitionKeys, claim: Claim, change: Change) -> None:
        """As the parent's, and then the world checks what was published."""
        node, world, store = self._node, self._node.world, self.store
        task = world.scheduler.current
        assert task is not None
        shares = packed(change)
        rejected, starts = task.rejected, dict(node.starts)

        def arrive() -> None:
            before = store.slot(keys).position
            store.apply(keys, claim, change, shares)
            world.published(node, keys, before, change, shares, rejected, starts)

        await node.call(arrive)

    async def report_progress(self, keys: PartitionKeys, claim: Claim, complete_ms: int) -> None:
        """As the parent's, and then the world checks the promise."""
        store, world = self.store, self._node.world

        def arrive() -> None:
            store.report_progress(keys, claim, complete_ms)
            world.check_complete(keys)

        await self._node.call(arrive)


class NodeDirectory:
    """The directory in one process's memory; the topic behind it gets one late entry."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._schools = frozenset(SCHOOLS)
        self._version = 0

    def is_school(self, code: str) -> bool:
        """Whether results may be attributed to it."""
        return code in self._schools

    async def catch_up(self) -> None:
        """Take over all that stands in the topic."""
        await turn()
        await self.refresh()

    async def refresh(self) -> bool:
        """Take over what has come since; True when something had."""
        world = self._node.world
        version = await self._node.call(lambda: world.directory_version)
        if version == self._version:
            return False
        self._version = version
        if version > 1:
            self._schools = frozenset((*SCHOOLS, LATE_SCHOOL))
        return True

    async def positions(self) -> Mapping[int, int]:
        """Next offsets of the organizations topic; not a matter of this simulation."""
        return {}

"""A stateful machine: hypothesis chooses what happens next, and after each step the store equals a recount of its log.

The same machine runs on the model of the store with many examples, and on a real Redis with few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import ExitStack
from random import Random
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from simulation.backends import Backend
from simulation.driver import Crash, Driver
from simulation.history import Event, History
from simulation.schedule import small_limits

Answer = TypeVar("Answer")

PARTITIONS, WORKERS = 2, 3

workers = st.integers(0, WORKERS - 1)
partitions = st.integers(0, PARTITIONS - 1)
few = st.integers(1, 6)
crashes: st.SearchStrategy[Crash] = st.sampled_from(
    ("before the write", "after the write", "while rejecting")
)


class EngineMachine(RuleBasedStateMachine):
    """Subclasses say on which store."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._stack.enter_context(small_limits(Random(0)))
        self._runner = self._stack.enter_context(asyncio.Runner())
        self._driver = Driver(self.run(self.open()), partitions=PARTITIONS, workers=WORKERS)
        self._waiting: list[Event] = []
        self._produced: list[Event] = []
        self._snapshots: list[Any] = []

    async def open(self) -> Backend:
        """An empty store."""
        raise NotImplementedError

    async def close(self) -> None:
        """No more needed."""

    def run(self, steps: Coroutine[Any, Any, Answer]) -> Answer:
        """Let it happen."""
        return self._runner.run(steps)

    def teardown(self) -> None:
        """Whatever happened: let everything work again, and find nothing missing."""
        try:
            for event in reversed(self._waiting):
                self._produce(event)
            self.run(self._driver.settle())
            self.run(self.close())
        finally:
            self._stack.close()

    @initialize(seed=st.integers(0, 10_000))
    def plan(self, seed: int) -> None:
        """What will befall the exams."""
        self._waiting = History(Random(seed), PARTITIONS, "current").events(60)[::-1]
        self.produce(10)
        self.rebalance([number % WORKERS for number in range(PARTITIONS)])

    def _produce(self, event: Event) -> None:
        self._driver.produce(event)
        self._produced.append(event)

    # The log.

    @rule(count=few)
    def produce(self, count: int) -> None:
        """The next events."""
        for _ in range(min(count, len(self._waiting))):
            self._produce(self._waiting.pop())

    @precondition(lambda self: self._produced)
    @rule(which=st.integers(0, 1_000))
    def duplicate(self, which: int) -> None:
        """An earlier event once more."""
        self._produce(self._produced[which % len(self._produced)])

    @rule(count=few)
    def reorder(self, count: int) -> None:
        """The next events will come the other way round."""
        self._waiting[-count:] = self._waiting[-count:][::-1]

    # The workers.

    @rule(worker=workers, partition=partitions, most=few)
    def deliver(self, worker: int, partition: int, most: int) -> None:
        """A worker applies a batch, be it the owner or a zombie."""
        self.run(self._driver.deliver(worker, partition, most))

    @rule(most=few)
    def work(self, most: int) -> None:
        """Every worker applies a batch of everything that it believes to own."""
        self.produce(most)
        for worker in range(WORKERS):
            for partition in range(PARTITIONS):
                self.run(self._driver.deliver(worker, partition, most))

    @rule(worker=workers, partition=partitions, most=few, when=crashes)
    def crash(self, worker: int, partition: int, most: int, when: Crash) -> None:
        """A worker ends while it applies a batch, and is back before anybody has noticed."""
        assigned = self._driver.processes[worker].assigned
        self.run(self._driver.deliver(worker, partition, most, when))
        self.run(self._driver.assign(worker, assigned))

    @rule(worker=workers, partition=partitions, most=few)
    def lose(self, worker: int, partition: int, most: int) -> None:
        """A batch is fetched and never arrives; the one after it does."""
        self._driver.processes[worker].lose_batch(partition, most)
        self.run(self._driver.deliver(worker, partition, most))

    @rule(worker=workers, partition=partitions, by=few)
    def rewind(self, worker: int, partition: int, by: int) -> None:
        """A worker fetches some records again."""
        self._driver.processes[worker].rewind(partition, by)

    @rule(worker=workers, which=st.sets(partitions))
    def claim(self, worker: int, which: set[int]) -> None:
        """A worker is assigned some partitions; who had them goes on as a zombie."""
        self.run(self._driver.assign(worker, which))

    @rule(owners=st.lists(workers, min_size=PARTITIONS, max_size=PARTITIONS))
    def rebalance(self, owners: list[int]) -> None:
        """All are told who has what."""
        for worker in range(WORKERS):
            self.run(self._driver.assign(worker, (n for n, owner in enumerate(owners) if owner == worker)))

    @rule(worker=workers)
    def report(self, worker: int) -> None:
        """The timer of a worker."""
        self.run(self._driver.processes[worker].report_progress())

    # The store.

    @rule()
    def snapshot(self) -> None:
        """What a roll-back may go back to."""
        self._snapshots.append(self.run(self._driver.backend.snapshot()))

    @precondition(lambda self: self._snapshots)
    @rule(which=st.integers(0, 1_000))
    def roll_back(self, which: int) -> None:
        """The store loses its tail."""
        del self._snapshots[which % len(self._snapshots) + 1 :]
        self.run(self._driver.backend.restore(self._snapshots[-1]))

    @rule()
    def wipe(self) -> None:
        """The store loses everything."""
        self._snapshots.clear()
        self.run(self._driver.backend.wipe())

    @invariant()
    def store_equals_recount(self) -> None:
        """Rows and cells are those of the log up to the position that is stored with them."""
        self.run(self._driver.check())

"""One schedule from its seed to its result: disturb, let settle, compare."""

from __future__ import annotations

import logging
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from random import Random
from typing import Final, NamedTuple
from unittest import mock

from schemas.identifiers import PartitionId
from schemas.keys import Attribution, Generation, PartitionKeys
from simulation.ending import check_end
from simulation.history import Event, History
from simulation.node import Node
from simulation.store import FakeStore, Slot, Snapshot
from simulation.world import World

_SNAPSHOTS: Final = 4
_SETTLED_AFTER: Final = 6_000  # turns; a schedule needs some hundreds
_PROGRESS_EVERY: Final = 40  # turns
_NEXT_EVENT_EVERY: Final = 500  # turns


class Result(NamedTuple):
    """What became of a schedule."""

    seed: int
    steps: int
    events: int
    batches: int
    counts: Counter[str]
    mismatches: list[str]


def run_schedule(
    seed: int, *, without: Collection[str] = (), trace: Callable[[str], None] | None = None
) -> Result:
    """Run one schedule. The same seed gives the same steps, in any process.

    Args:
        seed: chooses everything.
        without: guards of the store to leave out.
        trace: gets a line for each thing that happens.
    """
    return _Schedule(seed, without, trace).run()


class _Schedule:
    def __init__(self, seed: int, without: Collection[str], trace: Callable[[str], None] | None) -> None:
        self.seed = seed
        rng = self.rng = Random(f"schedule {seed}")
        attribution: Attribution = rng.choice(("current", "tested"))
        partitions = rng.randint(2, 4)
        self.store = FakeStore(without)
        self.world = World(
            rng,
            partitions=partitions,
            workers=rng.randint(2, 3),
            attribution=attribution,
            store=self.store,
            trace=trace,
        )
        self.events = History(rng, partitions, attribution).events(rng.randint(20, 60))
        self.snapshots: list[Snapshot] = []
        self.partitions = range(partitions)

    def run(self) -> Result:
        with small_limits(self.rng):
            for node in self.world.nodes:
                node.start()
            self._rebalance()
            self._disturb()
            if not self.world.mismatches:
                self._settle()
            if not self.world.mismatches:
                check_end(self.world)
        for task in list(self.world.scheduler.tasks):
            self.world.scheduler.discard(task)
        world = self.world
        return Result(
            self.seed,
            world.scheduler.steps,
            len(self.events),
            world.published_count,
            world.counts(),
            world.mismatches,
        )

    # The first part: events arrive, and all kinds of things happen.

    def _disturb(self) -> None:
        world, rng, faults = self.world, self.rng, self.world.faults
        waiting = list(reversed(self.events))
        late_entry = rng.randrange(len(waiting) * 8)
        turns = len(waiting) * 8
        while (turns > 0 or waiting) and not world.mismatches:
            turns -= 1
            if turns == late_entry:
                self._directory_entry()
            chance = rng.random()
            if chance < 0.6:
                world.scheduler.step()
            elif chance < 0.75:
                if waiting:
                    self._produce(waiting.pop())
            else:
                self._work(rng.choice(world.nodes))
            if rng.random() < faults.rate:
                self._happen(faults.next())
            if rng.random() < 0.02 and len(self.snapshots) < _SNAPSHOTS:
                self.snapshots.append(self.store.snapshot())

    def _produce(self, event: Event) -> None:
        record = self.world.log.append(event, self.world.scheduler.now_ms())
        self.world.say(f"produced {event.partition}:{record.offset} {event.kind}")

    def _work(self, node: Node) -> None:
        rng = self.rng
        if not node.alive:
            if rng.random() < 0.1:
                self._restart(node)
            return
        if not node.awake:
            return
        if node.told is not None and rng.random() < 0.4:
            node.hear()
        elif rng.random() < 0.05:
            node.progress()
        else:
            node.fetch(rng.choice(self.partitions))

    def _restart(self, node: Node) -> None:
        if node.tasks():
            return  # still ending
        node.start()
        self.world.say(f"{node} starts")
        if node.given and self.rng.random() < 0.5:
            node.told = node.given  # static membership: back before anybody noticed
        else:
            self._rebalance()

    def _rebalance(self) -> None:
        """Divide the partitions among some of the living; the others have not heard of it."""
        rng = self.rng
        alive = [node for node in self.world.nodes if node.alive]
        if not alive:
            return
        members = rng.sample(alive, rng.randint(1, len(alive)))
        self._assign({number: rng.choice(members) for number in self.partitions}, members)

    def _assign(self, owners: dict[int, Node], members: list[Node]) -> None:
        for node in self.world.nodes:
            node.given = frozenset(number for number, owner in owners.items() if owner is node)
        for node in members:
            node.told = node.given
            self.world.say(f"{node} is to be assigned {sorted(node.told)}")

    def _directory_entry(self) -> None:
        if self.world.directory_version == 1:
            self.world.directory_version = 2
            self.world.say("the late school's entry is in the directory")

    # What can go wrong.

    def _happen(self, name: str) -> None:
        world, rng = self.world, self.rng
        node, number = rng.choice(world.nodes), rng.choice(self.partitions)
        world.say(f"-- {name}")
        done = True
        if name == "rebalance":
            self._rebalance()
        elif name == "kill -9":
            done = node.alive
            if done:
                world.say(f"{node} is killed")
                node.kill()
        elif name == "SIGTERM":
            done = node.alive
            if done:
                world.say(f"{node} is told to stop")
                node.terminate()
                self._rebalance()
        elif name == "stopped for a while":
            done = node.awake
            if done:
                node.sleep(rng.randint(50, 1_500))
                if rng.random() < 0.7:
                    self._rebalance()
        elif name == "store rolled back":
            done = bool(self.snapshots)
            if done:
                # What comes after is lost: the later snapshots were never written.
                keep = rng.randrange(len(self.snapshots))
                del self.snapshots[keep + 1 :]
                self.store.restore(self.snapshots[keep])
        elif name == "store wiped":
            self._wipe()
        elif name == "retention":
            world.log.retain_from(number, rng.randint(0, world.log.partitions[number].end))
        elif name == "topic created anew":
            done = self._new_topic()
        else:
            places = [(node, number) for node in world.nodes if node.awake for number in self.partitions]
            rng.shuffle(places)
            done = any(
                {
                    "batch lost on its way": node.lose_batch,
                    "batch delivered twice": node.repeat_batch,
                    "read again from before": node.rewind,
                }[name](number)
                for node, number in places
            )
        world.faults.counts[name] += done

    def _wipe(self) -> None:
        self.store.wipe()
        self.snapshots.clear()

    def _new_topic(self) -> bool:
        """Deleted and created again, which ends every consumer."""
        for node in self.world.nodes:
            if node.alive:
                node.kill()
        for task in list(self.world.scheduler.tasks):
            self.world.scheduler.discard(task)
        self.world.new_log(len(self.partitions))
        return True

    # The second part: everything works again.

    def _settle(self) -> None:
        world, rng = self.world, self.rng
        world.faults.off = True
        self._directory_entry()
        self._operator()
        whole = Counter(number for node in world.nodes if node.alive for number in node.told or node.assigned)
        # Half the time nothing calls for another assignment, where it is a good one already.
        if (
            any(not node.alive for node in world.nodes)
            or set(whole.items()) != {(n, 1) for n in self.partitions}
            or rng.random() < 0.5
        ):
            self._assign_all()
        for turns in range(_SETTLED_AFTER):
            if turns % 8 == 0 and self._settled() and not self._retry_parked():
                return
            if world.mismatches:
                return
            if turns % _PROGRESS_EVERY == 0:
                self._tend()
            if turns % _NEXT_EVENT_EVERY == _NEXT_EVENT_EVERY - 1:
                self._next_events()
            if rng.random() < 0.7:
                world.scheduler.step()
            else:
                node = rng.choice(world.nodes)
                if node.awake:
                    node.hear()
                    node.fetch(rng.choice(self.partitions))
        found = {
            number: slot and slot.position for number in self.partitions for slot in [self._slot(number)]
        }
        ends = {number: world.log.last(number) for number in self.partitions}
        world.mismatch(f"not settled: at {found}, the log ends at {ends}")

    def _next_events(self) -> None:
        """A lost batch shows in the chain when the next one comes, so where reading has ended a next event comes."""
        for number in self.partitions:
            records = self.world.log.partitions[number].records
            if records and not self._caught_up(number):
                last = records[-1]
                self._produce(Event("the next event", last.key, last.value, number, last.fact))

    def _tend(self) -> None:
        """The supervisor starts what has ended, the timers run."""
        self._operator()
        dead = [node for node in self.world.nodes if not node.alive]
        for node in dead:
            if not node.tasks():
                node.start()
        if dead and all(node.alive for node in self.world.nodes):
            self._assign_all()
        for node in self.world.nodes:
            if node.awake:
                node.progress()

    def _assign_all(self) -> None:
        alive = [node for node in self.world.nodes if node.alive]
        if alive:
            self._assign({number: alive[number % len(alive)] for number in self.partitions}, alive)

    def _operator(self) -> None:
        """Where a worker said that it cannot go on: start over with an empty store, as the message tells."""
        if self.world.operator_needed:
            self.world.operator_needed = False
            self.world.faults.counts["operator started over"] += 1
            self.world.say("the operator empties the store")
            self._wipe()
            for node in self.world.nodes:
                if node.alive:
                    node.kill()

    def _settled(self) -> bool:
        tasks = self.world.scheduler.tasks
        busy = any(task.name.partition(" applies ")[1] or task.owner is None for task in tasks)
        return not busy and all(map(self._caught_up, self.partitions))

    def _caught_up(self, number: int) -> bool:
        log, slot = self.world.log, self._slot(number)
        last = log.last(number)
        if slot is None or slot.position is None:
            nothing_left = last <= log.partitions[number].start
            return nothing_left and (slot is None or slot.log in (None, log.identity))
        return (slot.log, slot.position) == (log.identity, last)

    def _slot(self, number: int) -> Slot | None:
        generation = Generation(self.store.values.get("generation", ""))
        return self.store.slots.get(PartitionKeys(generation, PartitionId(number)).position)

    def _retry_parked(self) -> bool:
        """`scores rejected retry`: what waited for the late school is produced again."""
        world = self.world
        again = [
            (name, record)
            for name, (reason, record) in world.rejected.items()
            if reason == "unknown_organization" and record.fact.late and name not in world.retried
        ]
        for name, record in again:
            world.retried.add(name)
            world.faults.counts["parked and retried"] += 1
            self._produce(Event("parked, again", record.key, record.value, name[1], record.fact))
        return bool(again)


@contextmanager
def small_limits(rng: Random) -> Iterator[None]:
    """Limits so small that even a schedule reaches them: kept shares, recent results, remembered newcomers."""
    logger = logging.getLogger("streams")
    level = logger.level
    with (
        mock.patch("schemas.shares.RECENT_AT_MOST", rng.choice((2, 64))),
        mock.patch("streams.kept_shares.CHAINS_KEPT", rng.choice((2, 1_000))),
        mock.patch("streams.newcomers._WORDS", 4),
        # Python's own hash of bytes differs from process to process, and a seed must not.
        mock.patch("streams.newcomers.hash", zlib.crc32, create=True),
    ):
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)

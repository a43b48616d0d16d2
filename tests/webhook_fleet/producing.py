"""Changes cells as the streams do, and tells Kafka of them."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Final, Self

from cli.simulator.county import County
from schemas.aggregates import cell_field
from schemas.errors import DependencyUnavailable
from schemas.identifiers import ancestry
from tests.fake_worker import FakeWorker, scored
from tests.webhook_fleet.changes_topic import ChangesTopic
from tests.webhook_fleet.made import Made

TESTS: Final = ("ELA-SUM", "MATH-SUM")
YEAR: Final = 2026

_TESTED: Final = frozenset(f"{grade:02d}" for grade in (3, 4, 5, 6, 7, 8, 11))


class Season:
    """One result after another, each at some school, in a thread inside ``with``.

    Args:
        topic: is told of each changed cell; None when a relay does that.
    """

    def __init__(
        self,
        tables: FakeWorker,
        topic: ChangesTopic | None,
        county: County,
        made: Made,
        *,
        rate: float,
        seed: int,
    ) -> None:
        # Held whoever does something to Redis: while it is away the streams change nothing, either.
        self.paused = threading.Lock()
        self.changes = 0
        self.failure = ""
        self._tables = tables
        self._topic = topic
        self._made = made
        self._rate = rate
        self._rng = Random(f"season {seed}")
        self._schools = [
            (school.cds, grades)
            for school in county.schools
            if (grades := [grade for grade in school.grades if grade in _TESTED])
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="season")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def end(self) -> None:
        """No more; returns when Kafka has everything.

        Raises:
            DependencyUnavailable: it could not be written.
        """
        self._stop.set()
        self._thread.join()
        if self._topic is not None:
            self._topic.flush()
            self.failure = self.failure or self._topic.failure
        if self.failure:
            raise DependencyUnavailable(f"The season stopped: {self.failure}")

    def restore(self) -> None:
        """Write every cell again, as the streams do after Redis has lost its tail; call it with ``paused`` held."""
        self._tables.restore()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(
                due + 1 / self._rate, time.monotonic() - 1.0
            )  # what a pause held up does not come at once
            try:
                with self.paused:
                    self._change()
            except Exception as error:  # the run ends with this, and says so
                self.failure = f"{type(error).__name__}: {error}"
                raise

    def _change(self) -> None:
        school, grades = self._rng.choice(self._schools)
        grade, test = self._rng.choice(grades), self._rng.choice(TESTS)
        field = cell_field(YEAR, test, grade)
        chain = ancestry(school)
        now = time.time()
        for organization in chain:
            self._made.add(organization, field, now)
        changed_ms = self._tables.apply(
            school,
            [scored(self._rng.randrange(2300, 2700), self._rng.randint(1, 4))],
            test=test,
            grade=grade,
            year=YEAR,
            partition=self._rng.randrange(self._tables.partitions),
        )
        self.changes += 1
        if self._topic is not None:
            for organization in chain:
                self._topic.put(organization, field, changed_ms)

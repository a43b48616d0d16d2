"""Coroutines stepped by hand, in an order that a seeded generator chooses, under a clock that only this module moves."""

from __future__ import annotations

import types
from collections.abc import Callable, Coroutine, Generator
from random import Random
from typing import Any, Final

# The clock moves on by up to this much with every step, so that a pause of the worker lasts some steps of the others.
_STEP_MS: Final = 8
_FIRST_MS: Final = 1_780_000_000_000


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Let the scheduler choose who goes on."""
    yield


class Task:
    """One coroutine and what of it is under way."""

    __slots__ = ("coroutine", "failed", "name", "owner", "rejected", "request", "wake_ms")

    def __init__(
        self,
        owner: object,
        name: str,
        coroutine: Coroutine[Any, Any, object],
        failed: Callable[[BaseException], None] | None,
    ) -> None:
        self.owner = owner
        self.name = name
        self.coroutine = coroutine
        self.failed = failed
        self.wake_ms = 0
        self.request: Callable[[], object] | None = None  # sent, not arrived yet
        self.rejected: frozenset[int] = (
            frozenset()
        )  # offsets that went to the rejected topic while applying this batch


class Scheduler:
    """Steps one task at a time; also the clock that the worker is given."""

    def __init__(self, rng: Random) -> None:
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.steps = 0
        self._rng = rng
        self._now_ms = _FIRST_MS

    def now_ms(self) -> int:
        """Milliseconds since 1970, as the worker sees them."""
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        """Go on when the clock has moved so far."""
        task = self.current
        assert task is not None
        task.wake_ms = self._now_ms + int(seconds * 1000)
        await turn()

    def spawn(
        self,
        owner: object,
        name: str,
        coroutine: Coroutine[Any, Any, object],
        failed: Callable[[BaseException], None] | None = None,
    ) -> Task:
        """Add a task; ``failed`` is told the exception that ends it, if one does."""
        task = Task(owner, name, coroutine, failed)
        self.tasks.append(task)
        return task

    def step(self) -> Task | None:
        """Step one task that is not asleep; with all asleep, let time pass until the first wakes."""
        rng = self._rng
        self._now_ms += int(rng.random() * _STEP_MS)
        now = self._now_ms
        ready = [task for task in self.tasks if task.wake_ms <= now]
        if not ready:
            if not self.tasks:
                return None
            self._now_ms = min(task.wake_ms for task in self.tasks)
            return self.step()
        task = ready[int(rng.random() * len(ready))]
        self.resume(task)
        return task

    def resume(self, task: Task, error: BaseException | None = None) -> None:
        """Run one task to its next turn, or throw ``error`` into it."""
        self.steps += 1
        self.current = task
        try:
            if error is None:
                task.coroutine.send(None)
            else:
                task.coroutine.throw(error)
        except StopIteration:
            self._remove(task)
        except BaseException as raised:
            self._remove(task)
            if task.failed is None:
                raise
            task.failed(raised)
        finally:
            self.current = None

    def discard(self, task: Task) -> None:
        """End a task where it stands, as a killed process ends."""
        self._remove(task)
        task.coroutine.close()

    def _remove(self, task: Task) -> None:
        if task in self.tasks:
            self.tasks.remove(task)

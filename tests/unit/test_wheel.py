"""One clock for all streams: each is looked at in its turn, once, and hardly late."""

from __future__ import annotations

from typing import cast

import pytest

from gateway.subscriber import Subscriber
from gateway.wheel import NEVER, TURN_SECONDS, Wheel, turns

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Looked:
    """Writes down when it was looked at."""

    def __init__(self, again: int | None = None) -> None:
        self.due = NEVER
        self.at: list[int] = []
        self._again = again

    def look(self, now: int) -> int | None:
        self.at.append(now)
        return None if self._again is None else now + self._again


def scheduled(wheel: Wheel, seconds: float, again: int | None = None) -> Looked:
    looked = Looked(again)
    wheel.schedule(cast(Subscriber, looked), wheel.after(seconds))
    return looked


async def test_a_stream_is_looked_at_once_not_early_and_at_most_a_turn_late() -> None:
    clock = Clock()
    wheel = Wheel(clock)
    looked = scheduled(wheel, 10.1)
    while not looked.at:
        clock.seconds += 0.05
        await wheel.turn()
    assert 0 <= clock.seconds - 1_010.1 <= TURN_SECONDS + 0.05
    clock.seconds += 100
    await wheel.turn()
    assert len(looked.at) == 1


async def test_a_loop_that_was_held_up_is_caught_up_with() -> None:
    clock = Clock()
    wheel = Wheel(clock)
    several = [scheduled(wheel, seconds) for seconds in (1, 2, 3)]
    again = scheduled(wheel, 1, again=turns(1))
    clock.seconds += 3.0
    await wheel.turn()
    assert [len(looked.at) for looked in several] == [1, 1, 1]
    assert again.at == [turns(1), turns(2), turns(3)]


async def test_the_latest_time_counts_and_none_after_it_was_forgotten() -> None:
    clock = Clock()
    wheel = Wheel(clock)
    moved, forgotten = scheduled(wheel, 1), scheduled(wheel, 1)
    wheel.schedule(cast(Subscriber, moved), wheel.after(5))
    wheel.forget(cast(Subscriber, forgotten))
    wheel.forget(cast(Subscriber, forgotten))
    clock.seconds += 4.5
    await wheel.turn()
    assert not moved.at and not forgotten.at
    clock.seconds += 1
    await wheel.turn()
    assert len(moved.at) == 1 and not forgotten.at


async def test_what_is_overdue_comes_with_the_next_turn() -> None:
    clock = Clock()
    wheel = Wheel(clock)
    clock.seconds += 7
    await wheel.turn()
    looked = scheduled(wheel, -30)
    clock.seconds += TURN_SECONDS
    await wheel.turn()
    assert len(looked.at) == 1

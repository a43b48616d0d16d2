"""The stateful machine on the model of the store."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from simulation.backends import Backend, FakeBackend
from simulation.guards import removed
from simulation.machine import EngineMachine

from schemas.errors import AggregateUnderflow


class OnTheModel(EngineMachine):
    async def open(self) -> Backend:
        return FakeBackend()


def test_whatever_happens_next_the_tables_equal_a_recount_of_their_log() -> None:
    run_state_machine_as_test(
        OnTheModel, settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
    )


@pytest.mark.parametrize("guard", ["version", "tombstone", "chain"])
def test_the_machine_finds_out_what_an_engine_lacks(guard: str) -> None:
    """The guards of the store need luckier moments: the schedules have them, and ``test_guard_lines.py`` makes them."""
    with removed(guard) as without:

        class Unguarded(EngineMachine):
            async def open(self) -> Backend:
                return FakeBackend(without)

        examples = settings(
            max_examples=300, stateful_step_count=40, deadline=None, database=None, phases=[Phase.generate]
        )
        with pytest.raises((AssertionError, AggregateUnderflow)):
            run_state_machine_as_test(Unguarded, settings=examples)

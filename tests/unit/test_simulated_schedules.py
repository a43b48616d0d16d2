"""Two thousand schedules of the simulator, and the proof that it would see a missing guard. ``make soak`` runs more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.faults import CLASSES
from simulation.guards import GUARDS
from simulation.schedule import run_schedule
from simulation.soak import main, run_some

SCHEDULES = 2_000
TESTS = Path(__file__).parents[1]


def test_every_published_snapshot_equals_a_recount_of_its_part_of_the_log_whatever_happens() -> None:
    totals, failed, _ = run_some(range(SCHEDULES))
    assert not failed, "\n".join(
        f'make soak ARGS="--seed {result.seed} --trace": {result.mismatches[0]}' for result in failed
    )
    never = [name for name in (*CLASSES, "writes fenced", "positions moved") if not totals[name]]
    assert not never, f"in {SCHEDULES} schedules nobody met: {never}"


@pytest.mark.parametrize("guard", GUARDS)
def test_engine_without_one_of_its_guards_is_found_out(guard: str) -> None:
    for seed in range(GUARDS[guard]):
        _, failed, _ = run_some(range(seed, seed + 1), guard)
        if failed:
            return
    pytest.fail(f"the {guard} guard is gone, and {GUARDS[guard]} schedules did not notice")


def test_soak_tells_how_to_replay_a_schedule_that_failed_and_what_happened_in_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--schedules", "20", "--seed", "0", "--jobs", "1", "--without", "version"]) == 1
    told = capsys.readouterr().out
    assert '--trace --without version"' in told and "MISMATCH" in told
    assert main(["--schedules", "5", "--seed", "0", "--jobs", "1"]) == 0


def test_seed_replays_exactly_in_another_process() -> None:
    seed = 17
    here: list[str] = []
    run_schedule(seed, trace=here.append)
    assert any("wrote" in line for line in here)
    program = f"from simulation.schedule import run_schedule; run_schedule({seed}, trace=print)"
    there = subprocess.run(
        [sys.executable, "-c", program],
        cwd=TESTS,
        env=os.environ | {"PYTHONHASHSEED": "4711", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.splitlines() == here

"""A slice of ``make chaos``: every snapshot exact while workers, Redis and Kafka are killed, stopped and cut off."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_snapshot_equals_its_prefix_of_the_log_whatever_is_killed_stopped_or_cut_off() -> None:
    for program in ("java", "mvn", "redis-server"):
        if shutil.which(program) is None:
            pytest.skip(f"not run: chaos on real Kafka and Redis needs {program} on the PATH")
    command = [
        sys.executable,
        "-m",
        "tests.chaos",
        "--minutes",
        "0.8",
        "--session-seconds",
        "3",
        "--seed",
        "1",
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-2_000:]
    assert "| mismatches | 0 |" in run.stdout

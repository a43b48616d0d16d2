"""A slice of ``make webhook-chaos``: every endpoint has the latest of what it follows, whoever is dead, killed or restarted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_endpoint_ends_with_the_latest_of_all_it_follows_whoever_is_dead_killed_or_restarted() -> None:
    command = [sys.executable, "-m", "tests.webhook_fleet"]
    command += ["--endpoints", "120", "--well-seconds", "3", "--minutes", "0.1", "--seed", "1"]
    for kind in ("worker_killed", "redis_killed", "redis_loses_tail", "relay_killed"):
        command += ["--only", kind]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-2_000:]
    assert "| failures | 0 |" in run.stdout

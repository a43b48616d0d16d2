"""A slice of ``make watch-chaos``: clients that share no code end with the tables' figures, and see nothing go backwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.watching.cast import NAMES, missing_programs

ROOT = Path(__file__).parents[2]


def test_browser_node_python_and_curl_end_with_the_figures_of_the_tables_whatever_is_killed_or_cut() -> None:
    if missing := missing_programs(NAMES):
        pytest.skip(f"not run: watching with every client needs {', '.join(missing)}")
    command = [sys.executable, "-m", "tests.watching", "--minutes", "1", "--seed", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert run.returncode == 0, run.stdout[-8_000:] + run.stderr[-2_000:]
    assert "| mismatches | 0 |" in run.stdout

"""Without a collector of traces nothing that makes them is there, and nothing has to be installed for them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "untraced_processes.py"


@pytest.mark.parametrize(
    ("installed", "importers"),
    [
        # redis-py looks for OpenTelemetry's metrics by itself, whether or not it is to record any.
        pytest.param("there", ["redis"], id="OpenTelemetry is installed"),
        pytest.param("missing", ["redis"], id="OpenTelemetry is not installed"),
    ],
)
def test_processes_without_a_collector_import_nothing_that_makes_traces(
    installed: str, importers: list[str]
) -> None:
    run = subprocess.run([sys.executable, PROGRAM, installed], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {"importers": importers, "making traces": [], "sending": []}

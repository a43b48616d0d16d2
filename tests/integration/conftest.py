"""What integration tests share: where the reference data are (read, never contained), and an embedded Redis for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from served_school import redis, worker

from cli.stack.redis_server import EmbeddedRedis
from consumers.lag import sampling

__all__ = ["redis", "worker"]  # fixtures

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def reference() -> Path:
    """The folder of the reference data, from SCORES_REFERENCE_DATA or beside the project."""
    folder = Path(os.environ.get("SCORES_REFERENCE_DATA") or PROJECT.parent / "shared" / "reference")
    if not (folder / "PROVENANCE.md").is_file():
        pytest.skip(f"not run: no reference data in {folder}; set SCORES_REFERENCE_DATA to their folder")
    return folder


@pytest.fixture
def time_for_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time to fetch the records by which lags are measured: what is tested is the lags."""
    monkeypatch.setattr(sampling, "_RECORDS_SECONDS", 30.0)


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as running:
        yield running


@pytest.fixture
def store(server: EmbeddedRedis) -> Iterator[Redis]:
    with Redis.from_url(server.url) as client:
        yield client

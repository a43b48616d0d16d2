"""Processes and comparisons that integration tests share."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from cli.simulator.recount import CellId, CountedCell
from cli.stack.child import Child
from cli.stack.embedded_kafka import EmbeddedKafka
from cli.stack.local_kafka import LocalKafka
from cli.stack.ports import free_port
from cli.stack.redis_server import EmbeddedRedis
from cli.stored_cells import stored_cells
from cli.verify import counted_cells
from gateway.development_issuer import DevelopmentIssuer
from gateway.issuers import DEVELOPMENT_AUDIENCE, DEVELOPMENT_ISSUER
from schemas.access.permissions import Grant
from schemas.access.roles import IMPORT_ROLE, READER_ROLE
from schemas.assessments import load_registry
from schemas.identifiers import STATE, PartitionId
from schemas.keys import GENERATION, Generation, PartitionKeys
from schemas.topics import topics

SECRET = "a secret of the tests, of no value"
JARS = Path(__file__).parents[1] / ".scores" / "kafka"  # fetched once, whichever test is first


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait until ``condition`` holds, and fail with ``what`` when it does not come to hold."""
    deadline = time.monotonic() + seconds
    late = False
    while not condition():
        assert not late, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)
        late = time.monotonic() > deadline  # and one more look, after whatever held us up


def process_environment(kafka: str, redis_url: str, **more: str) -> dict[str, str]:
    """Settings for a worker or gateway of a test."""
    return {
        **os.environ,
        "SCORES_KAFKA": kafka,
        "SCORES_REDIS_URL": redis_url,
        "SCORES_STUDENT_KEY_SECRET": SECRET,
        "SCORES_UNLISTED_RELEASE_STATE": "released",  # what is withheld has tests of its own
        "SCORES_SESSION_TIMEOUT_SECONDS": "6",
        "SCORES_FETCH_WAIT_MS": "20",
        "SCORES_COMMIT_SECONDS": "0",
        "SCORES_DEPENDENCY_BUDGET_SECONDS": "20",
        **more,
    }


@contextmanager
def broker(kind: str, partitions: int, folder: Path) -> Iterator[str]:
    """Bootstrap servers of a broker with our topics: ``embedded``, or ``real`` Apache Kafka."""
    wanted = topics(partitions)
    if kind == "embedded":
        with EmbeddedKafka({topic.name: topic.partitions for topic in wanted}) as embedded:
            yield embedded.bootstrap_servers
        return
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            pytest.skip(f"not run: real Kafka needs {program} on the PATH")
    configured = {topic.name: (topic.partitions, topic.config) for topic in wanted}
    with LocalKafka(folder / "kafka", topics=configured, jars=JARS) as local:
        yield local.bootstrap_servers


def store(kind: str, folder: Path | None = None, settings: Mapping[str, str] | None = None) -> EmbeddedRedis:
    """A Redis to enter: the ``embedded`` Valkey, or the ``system``'s own redis-server."""
    return EmbeddedRedis(folder, binary=redis_binary(kind), settings=settings)


def redis_binary(kind: str) -> str | None:
    """The server program of that kind; None is the one that we bring."""
    if kind == "embedded":
        return None
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("not run: redis-server is not installed")
    return binary


@contextmanager
def running_stack_processes(kafka: str, redis_url: str, folder: Path) -> Iterator[str]:
    """A worker and a gateway; yields the gateway's address. Tokens come from ``loader_token``."""
    port = free_port()
    settings = {
        "SCORES_GATEWAY_PORT": str(port),
        "SCORES_JWKS_FILE": str(_issuer(folder).jwks_file),
        "SCORES_DRAIN_SECONDS": "0",
    }
    environment = process_environment(kafka, redis_url, **settings)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "cli", "gateway"]
    with running_worker(kafka, redis_url, folder):
        gateway = Child("gateway", command, cwd=folder, log=folder / "gateway.log", env=environment)
        try:
            wait_for(lambda: _ready(url), "the gateway is ready")
            yield url
        finally:
            gateway.stop(3.0)


def loader_token(folder: Path) -> str:
    """A token of that stack that may import and see everything."""
    return stack_token(folder, Grant(IMPORT_ROLE, STATE), Grant(READER_ROLE, STATE))


def stack_token(folder: Path, *grants: Grant) -> str:
    """A token of that stack with these grants."""
    return _issuer(folder).issue("tests", grants, timedelta(hours=1))


def _issuer(folder: Path) -> DevelopmentIssuer:
    return DevelopmentIssuer(
        folder / "issuer", issuer=DEVELOPMENT_ISSUER, audience=DEVELOPMENT_AUDIENCE, environment="development"
    )


def _ready(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    return False


@contextmanager
def running_worker(kafka: str, redis_url: str, folder: Path, **more: str) -> Iterator[Child]:
    """A stream worker in a process of its own, killed in the end if the test did not stop it."""
    number = len(list(folder.glob("worker-*.log")))
    child = Child(
        "worker",
        [sys.executable, "-m", "cli", "streams"],
        cwd=folder,
        log=folder / f"worker-{number}.log",
        env=process_environment(kafka, redis_url, **more),
    )
    try:
        yield child
    finally:
        child.signal(signal.SIGCONT)
        child.stop(0.0)


def live_cells(redis_url: str) -> dict[CellId, CountedCell]:
    """Every cell of the serving generation, in the form of the recount."""
    with stored_cells(redis_url) as stored:
        return counted_cells(stored.everywhere(), load_registry())


def positions(redis: Redis, partitions: int) -> Mapping[int, int]:
    """The next offset of each partition, as stored with the serving tables."""
    generation = Generation((redis.get(GENERATION) or b"none yet").decode())
    names = {number: PartitionKeys(generation, PartitionId(number)).position for number in range(partitions)}
    return {number: int(redis.hget(name, "next") or 0) for number, name in names.items()}


def measured(metrics_port: int, name: str, **labels: str) -> float:
    """The present value of one of a process's metrics; 0 while it has none, or does not answer."""
    with suppress(httpx.HTTPError):
        text = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics", timeout=10).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
    return 0.0

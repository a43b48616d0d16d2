"""The images that docker-compose.yml names carry one exam from the import to its school's cell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from stack import live_cells, wait_for
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from cli.create_topics import create_topics
from cli.import_exams import import_exams
from cli.load_entities import load_entities
from cli.local_stack import LocalStack
from cli.stack.ports import HOST, free_port
from cli.state import StateFolder
from cli.tokens import issue_token
from schemas.access.roles import IMPORT_ROLE
from schemas.identifiers import STATE, organization_id

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(__file__).parents[3] / "docker-compose.yml").read_text(encoding="utf-8")
)["services"]
PARTITIONS = 2
SCHOOL = "01999010000011"
ORGANIZATIONS = """cds,name,kind
01999010000000,Willow Creek Unified,district
01999010000011,Heron Elementary,school
"""
EXAM = {
    "assessment_id": "(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026",
    "opportunity_id": "1",
    "school_year": 2026,
    "status": "scored",
    "status_date": "2026-05-04T15:00:00Z",
    "sequence": 1,
    "student_id": "9900000001",
    "school": SCHOOL,
    "grade": "03",
    "enrolled_grade": "03",
    "completed": "2026-05-04T14:00:00Z",
    "attempted": "Y",
    "include_indicator": "Y",
    "scale_score": 2431,
    "level": 2,
}


@pytest.fixture
def kafka() -> Iterator[str]:
    """Kafka's address: the compose file's broker, but for a listener that this machine reaches."""
    service, port = SERVICES["kafka"], free_port()
    settings = {
        **service["environment"],
        "KAFKA_ADVERTISED_LISTENERS": f"BROKER://{HOST}:{port}",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
    }
    container = DockerContainer(service["image"]).with_bind_ports(9092, port).with_envs(**settings)
    with container.waiting_for(LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(120)):
        yield f"{HOST}:{port}"


@pytest.fixture
def redis_url() -> Iterator[str]:
    """Redis' URL: the compose file's server."""
    service, port = SERVICES["redis"], free_port()
    container = DockerContainer(service["image"]).with_bind_ports(6379, port)
    container.with_command(shlex.join(service["command"]))
    with container.waiting_for(LogMessageWaitStrategy("Ready to accept connections")):
        yield f"redis://{HOST}:{port}/0"


def test_imported_exam_is_counted_in_its_school_by_the_images_of_the_compose_file(
    kafka: str, redis_url: str, tmp_path: Path
) -> None:
    (tmp_path / "organizations.csv").write_text(ORGANIZATIONS)
    (tmp_path / "exam.json").write_text(json.dumps(EXAM))
    assert create_topics(kafka, PARTITIONS) == 0
    with LocalStack(
        kafka=kafka, redis=redis_url, partitions=PARTITIONS, state=StateFolder(tmp_path / "state")
    ) as stack:
        assert load_entities([tmp_path / "organizations.csv"], kafka, redis_url, as_json=True) == 0
        token = issue_token(
            stack.state, subject="import", roles=[IMPORT_ROLE], organizations=[STATE], minutes=5
        )
        assert import_exams([tmp_path / "exam.json"], stack.gateway_url, token, batch=None, as_json=True) == 0
        wait_for(lambda: bool(live_cells(redis_url)), "the exam is counted")
    counted = {id.cds: cell.results for id, cell in live_cells(redis_url).items()}
    assert counted[organization_id(SCHOOL)] == 1
    assert counted[STATE] == 1
    assert Redis.from_url(redis_url).config_get("appendonly") == {"appendonly": "yes"}

"""``scores topics create`` on Apache Kafka itself: made once, checked ever after, never half done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from cli.create_topics import create_topics
from cli.stack.java import find_java
from cli.stack.local_kafka import LocalKafka
from cli.stack.ports import HOST, free_port
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS, topics

JARS = Path(__file__).parents[2] / ".scores" / "kafka"


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[str]:
    try:
        find_java({"PATH": os.environ["PATH"], "JAVA_HOME": os.environ.get("JAVA_HOME", "")})
    except InvalidInput as error:
        pytest.skip(f"not run: {error}")
    with LocalKafka(tmp_path, jars=JARS) as server:
        yield server.bootstrap_servers


def partitions(kafka: str) -> dict[str, int]:
    found = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=60).topics
    return {name: len(topic.partitions) for name, topic in found.items() if not name.startswith("__")}


def test_topics_are_created_once_and_a_second_call_changes_nothing(
    kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create_topics(kafka, 6) == 0
    assert partitions(kafka) == {topic.name: topic.partitions for topic in topics(6)}
    assert "exam-results.v1: created, 6 partitions" in capsys.readouterr().out
    assert create_topics(kafka, 6) == 0
    assert "exam-results.v1: exists, 6 partitions" in capsys.readouterr().out

    with pytest.raises(InvalidInput, match=r"'exam-results.v1' has 6 partitions, and 12 are wanted"):
        create_topics(kafka, 12)


def test_a_results_topic_that_forgets_is_refused_before_anything_is_created(kafka: str) -> None:
    forgetful = NewTopic(EXAM_RESULTS, num_partitions=6, config={"cleanup.policy": "compact"})
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([forgetful])[EXAM_RESULTS].result(timeout=60)
    with pytest.raises(InvalidInput, match=r"cleanup.policy=compact; expected delete, or events are lost"):
        create_topics(kafka, 6)
    assert ORGANIZATIONS not in partitions(kafka)


def test_a_cluster_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.create_topics._ANSWER_SECONDS", 0.5)
    address = f"{HOST}:{free_port()}"
    with pytest.raises(DependencyUnavailable, match=f"no answer from Kafka at {address}"):
        create_topics(address, 6)

"""``python -m streams``: one stream worker, until it is told to stop.

Exit status: 0 after SIGTERM or SIGINT, 1 after a fault (a supervisor restarts it), 2 for wrong settings.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

import faust
from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from prometheus_client import start_http_server

from schemas.errors import DependencyUnavailable, InvalidInput, ScoreStreamError
from schemas.topics import EXAM_RESULTS
from streams.app import create_app
from streams.metrics import Metrics
from streams.settings import Settings

logger = logging.getLogger("streams")


def main() -> int:
    """Run a worker; returns the exit status."""
    try:
        settings = Settings.from_env(os.environ)
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
        )
        logging.getLogger("aiokafka").setLevel(logging.WARNING)
        log_identity, partitions = describe_log(settings.kafka, settings.dependency_budget_seconds)
    except InvalidInput as error:
        print(error, file=sys.stderr)
        return 2
    except ScoreStreamError as error:
        print(error, file=sys.stderr)
        return 1
    metrics = Metrics()
    if settings.metrics_port:
        start_http_server(settings.metrics_port, registry=metrics.registry)
    app = create_app(settings, metrics, log_identity=log_identity, partitions=partitions)
    worker = faust.Worker(app, loglevel="INFO", override_logging=False, quiet=True, redirect_stdouts=False)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker.loop = loop
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def describe_log(kafka: str, budget_seconds: float) -> tuple[str, int]:
    """Which log the results topic is (cluster id and topic id), and its number of partitions.

    Raises:
        DependencyUnavailable: Kafka did not answer, or the topic does not exist, within the budget.
    """
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    deadline = time.monotonic() + budget_seconds
    while True:
        try:
            metadata = admin.list_topics(timeout=5.0)
            topic = metadata.topics.get(EXAM_RESULTS)
            if topic is not None and topic.partitions:
                return f"{metadata.cluster_id or '-'}/{_topic_id(admin)}", len(topic.partitions)
            problem = f"the topic {EXAM_RESULTS} does not exist there"
        except KafkaException as error:
            problem = str(error.args[0].str())
        if time.monotonic() > deadline:
            raise DependencyUnavailable(
                f"no answer from Kafka at {kafka} within {budget_seconds:g} s ({problem}); is it running, and is SCORES_KAFKA right?"
            )
        time.sleep(0.5)


def _topic_id(admin: AdminClient) -> str:
    try:
        described = admin.describe_topics(TopicCollection([EXAM_RESULTS]), request_timeout=2.0)
        return str(described[EXAM_RESULTS].result(timeout=3.0).topic_id)
    except (KafkaException, TimeoutError):
        return "-"  # the embedded broker cannot say; its cluster id is new at every start


if __name__ == "__main__":
    sys.exit(main())

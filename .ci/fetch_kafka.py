"""Fetch Apache Kafka's jars once, into the folder from which the local stack and the tests start it."""

from __future__ import annotations

import os

from cli.stack.kafka_jars import require_jars
from cli.stack.local_kafka import DEFAULT_FOLDER

print(f"Kafka's jars are in {require_jars(DEFAULT_FOLDER.absolute(), os.environ, print)}")

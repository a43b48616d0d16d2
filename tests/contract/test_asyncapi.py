"""``docs/asyncapi.yaml`` is what the code sends and takes.

A difference means that the wire format changes, or its description. When that is meant, write the file anew, read the
difference, and note it under "Wire format" in the changelog: ``RENEW_GOLDEN=1 make test ARGS=tests/contract/test_asyncapi.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from golden_streams import golden_events

from cli.asyncapi import document
from schemas.events import EVENT_TYPES
from schemas.topics import topics
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.examples import examples

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.yaml"
HEAD = "# Written by tests/contract/test_asyncapi.py from the code; do not change it by hand.\n"


def described() -> dict[str, Any]:
    """The document as others read it."""
    found: dict[str, Any] = json.loads(json.dumps(document()))
    return found


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def at(reference: str) -> Any:
    place: Any = described()
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    return place


def test_the_file_is_what_the_code_describes() -> None:
    written = HEAD + yaml.safe_dump(described(), sort_keys=False, allow_unicode=True, width=120)
    if os.environ.get("RENEW_GOLDEN") == "1":
        DOCUMENT.write_text(written, encoding="utf-8")
        pytest.fail(
            "docs/asyncapi.yaml was renewed; read its difference, then run again without RENEW_GOLDEN"
        )
    assert yaml.safe_load(DOCUMENT.read_text(encoding="utf-8")) == described(), (
        "the head of this file says how to renew docs/asyncapi.yaml on purpose"
    )


def test_every_reference_leads_somewhere() -> None:
    found = set(references(described()))
    assert len(found) > 50
    for reference in found:
        assert at(reference), reference


def test_nothing_is_described_that_nothing_refers_to() -> None:
    found = set(references(described()))
    components = described()["components"]
    for kind, parts in components.items():
        assert {f"#/components/{kind}/{name}" for name in parts} <= found


def test_every_topic_is_a_channel_with_its_partitions_and_policy() -> None:
    channels = described()["channels"]
    for topic in topics(8):
        kafka = channels[topic.name]["bindings"]["kafka"]
        assert kafka["partitions"] == topic.partitions
        assert kafka["topicConfiguration"]["cleanup.policy"] == [topic.config["cleanup.policy"]]
    assert set(channels) == {topic.name for topic in topics(8)} | {"stream", "webhooks"}


def test_every_channel_has_an_operation_and_its_messages() -> None:
    document = described()
    used = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    assert used == {f"#/channels/{name}" for name in document["channels"]}
    assert all(channel["messages"] for channel in document["channels"].values())


def test_every_event_type_of_kafka_stands_in_its_message() -> None:
    messages = described()["components"]["messages"].values()
    said = {
        message["headers"]["properties"]["ce_type"]["const"]
        for message in messages
        if "ce_type" in message.get("headers", {}).get("properties", {})
    }
    assert set(EVENT_TYPES) < said


def test_every_event_of_the_stream_is_described() -> None:
    names = {
        at(message["$ref"])["name"] for message in described()["channels"]["stream"]["messages"].values()
    }
    assert names == {event.event for event in golden_events()}


def test_every_webhook_is_described_with_the_golden_bodies_as_examples() -> None:
    messages = [at(message["$ref"]) for message in described()["channels"]["webhooks"]["messages"].values()]
    assert {message["name"] for message in messages} == set(EventType)
    shown = {example["name"]: example["payload"] for message in messages for example in message["examples"]}
    assert shown == {name: msgspec.json.decode(body.content) for name, body in examples().items()}
    for message in messages:
        assert message["headers"] == {"$ref": "#/components/schemas/WebhookHeaders"}

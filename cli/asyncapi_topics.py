"""Kafka's topics in the AsyncAPI document: each a channel, an operation and a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from msgspec import Struct

from cli.asyncapi_parts import channel_reference, schema_reference
from schemas.aggregate_changes import (
    CELL_CHANGE_TYPE,
    PUBLISHED_CHANGE_TYPE,
    RESULT_CHANGE_TYPE,
    CellChange,
    ResultChange,
)
from schemas.audit import AuditEntry
from schemas.events import (
    CLOSING_TYPE,
    EXAM_RESULT_TYPE,
    ORGANIZATION_TYPE,
    RELEASE_TYPE,
    ClosingEntry,
    ExamResult,
    OrganizationEntry,
    ReleaseEntry,
)
from schemas.rejections import (
    HEADER_DETAIL,
    HEADER_OFFSET,
    HEADER_PARTITION,
    HEADER_REASON,
    HEADER_TIME,
    HEADER_TOPIC,
    Reason,
)
from schemas.topics import (
    AGGREGATE_CHANGES,
    AUDIT,
    CLOSINGS,
    EXAM_RESULTS,
    ORGANIZATIONS,
    PUBLISHED_CHANGES,
    REJECTED,
    RELEASES,
    RESULT_CHANGES,
    Topic,
    topics,
)

_DEFAULT_RESULT_PARTITIONS: Final = 8


class _TopicText(NamedTuple):
    """What is to be said of a topic that its configuration does not say."""

    action: str
    body: type[Struct] | None
    event_type: str | None
    key: str
    summary: str


_TOPICS: Final[Mapping[str, _TopicText]] = {
    EXAM_RESULTS: _TopicText(
        "receive",
        ExamResult,
        EXAM_RESULT_TYPE,
        "The student's key: 24 hexadecimal digits, keyed BLAKE2b-96 of the student identifier. Partitioner: murmur2.",
        "Exams, each record with the exam's whole state after what happened.",
    ),
    ORGANIZATIONS: _TopicText(
        "receive",
        OrganizationEntry,
        ORGANIZATION_TYPE,
        "The CDS code.",
        "The directory; the latest entry wins.",
    ),
    RELEASES: _TopicText(
        "send",
        ReleaseEntry,
        RELEASE_TYPE,
        "<school year>/<district>/<subject>/<report>",
        "Release states; the latest entry wins.",
    ),
    CLOSINGS: _TopicText(
        "send",
        ClosingEntry,
        CLOSING_TYPE,
        "<school year>/<test>",
        "Tests that are closed or reopened, in order.",
    ),
    AGGREGATE_CHANGES: _TopicText(
        "send",
        CellChange,
        CELL_CHANGE_TYPE,
        "<CDS code>/<cell>",
        "Every cell as it is now, exact: for readers inside the deployment only.",
    ),
    PUBLISHED_CHANGES: _TopicText(
        "send",
        CellChange,
        PUBLISHED_CHANGE_TYPE,
        "<CDS code>/<cell>",
        "Every published cell as it is now, after disclosure control.",
    ),
    RESULT_CHANGES: _TopicText(
        "send",
        ResultChange,
        RESULT_CHANGE_TYPE,
        "The school's CDS code.",
        "Exams whose counted result is another now, or none; identifiers only.",
    ),
    REJECTED: _TopicText(
        "send",
        None,
        None,
        "The original key.",
        "Records that were not applied, as they came; headers say why.",
    ),
    AUDIT: _TopicText(
        "send",
        AuditEntry,
        None,
        "The chain.",
        "Who saw or changed what; each entry has the hash of the one before it.",
    ),
}


def topic_channels() -> dict[str, Any]:
    """A channel for each topic, with its partitions and its configuration."""
    return {topic.name: _channel(topic) for topic in topics(_DEFAULT_RESULT_PARTITIONS)}


def topic_operations() -> dict[str, Any]:
    """Whether we read or write each topic."""
    return {
        _operation_name(topic.name): {
            "action": _TOPICS[topic.name].action,
            "channel": channel_reference(topic.name),
            "summary": _TOPICS[topic.name].summary,
        }
        for topic in topics(_DEFAULT_RESULT_PARTITIONS)
    }


def topic_messages() -> dict[str, Any]:
    """A record of each topic."""
    return {topic: _record(topic, text) for topic, text in _TOPICS.items()}


def record_bodies() -> tuple[type[Struct], ...]:
    """The structs that records have for values, each once."""
    return tuple(dict.fromkeys(text.body for text in _TOPICS.values() if text.body is not None))


def _channel(topic: Topic) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        name: [value] if name == "cleanup.policy" else int(value)
        for name, value in topic.config.items()
        if name in {"cleanup.policy", "retention.ms", "retention.bytes"}
    }
    kafka: dict[str, Any] = {
        "topic": topic.name,
        "partitions": topic.partitions,
        "topicConfiguration": configuration,
        "bindingVersion": "0.5.0",
    }
    return {
        "address": topic.name,
        "description": _TOPICS[topic.name].summary,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {topic.name: {"$ref": f"#/components/messages/{topic.name}"}},
        "bindings": {"kafka": kafka},
    }


def _operation_name(topic: str) -> str:
    words = topic.removesuffix(".v1").replace(".", "-").split("-")
    return _TOPICS[topic].action + "".join(word.capitalize() for word in words)


def _record(topic: str, text: _TopicText) -> dict[str, Any]:
    key = {"type": "string", "description": text.key}
    record: dict[str, Any] = {
        "name": topic if text.event_type is None else text.event_type,
        "summary": text.summary,
        "bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}},
    }
    if text.event_type is not None:
        record["headers"] = _cloud_event(text.event_type)
    if topic == REJECTED:
        record["headers"] = _rejected()
    if text.body is not None:
        record["payload"] = schema_reference(text.body.__name__)
    return record


def _cloud_event(event_type: str) -> dict[str, Any]:
    """CloudEvents attributes in binary mode; for other readers, ours go by the topic."""
    properties = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string"},
        "ce_source": {"type": "string"},
        "ce_type": {"const": event_type},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"const": "application/json"},
    }
    return {"type": "object", "properties": properties}


def _rejected() -> dict[str, Any]:
    text = {"type": "string"}
    properties = {
        HEADER_REASON: {"enum": [reason.value for reason in Reason]},
        HEADER_DETAIL: {"type": "string", "description": "The value and the remedy."},
        HEADER_TOPIC: text,
        HEADER_PARTITION: text,
        HEADER_OFFSET: text,
        HEADER_TIME: {"type": "string", "format": "date-time"},
    }
    return {"type": "object", "description": "Beside the original headers.", "properties": properties}

"""The description of everything that this service sends and takes without being asked: ``docs/asyncapi.yaml``, AsyncAPI 3.0.

Kafka's topics, the stream of server-sent events, and webhooks. It is made of the types that encode and decode them, so it says
nothing that is not so; ``tests/contract/test_asyncapi.py`` keeps the file up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from gateway.openapi import document as openapi_document
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
from schemas.json_schema import with_clean_descriptions
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
from schemas.webhooks.examples import examples_of
from schemas.webhooks.openapi import SIGNING_HEADERS, event_of, webhook_schemas
from schemas.webhooks.payload_types import PAYLOADS

_DEFAULT_RESULT_PARTITIONS: Final = 8
_SCHEMA: Final = "#/components/schemas/{name}"
_STREAM_EVENTS: Final = ("Subscribed", "Put", "Patch", "Progress", "Challenge", "Bye")


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


def document() -> dict[str, Any]:
    """The whole document."""
    topic_list = topics(_DEFAULT_RESULT_PARTITIONS)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Score streaming",
            "version": "1",
            "description": "Live, exact, preliminary assessment results: what comes in over Kafka, and what goes out over Kafka, "
            "server-sent events and webhooks. The gateway's requests and answers are in its OpenAPI document.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {topic.name: _topic_channel(topic) for topic in topic_list}
        | {"stream": _stream_channel(), "webhooks": _webhook_channel()},
        "operations": {_topic_operation(topic.name): _topic_action(topic.name) for topic in topic_list}
        | {"sendStream": _stream_operation(), "sendWebhook": _webhook_operation()},
        "components": {
            "messages": _messages(),
            "schemas": _schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT (RFC 9068)"},
                "session": {"type": "httpApiKey", "in": "cookie", "name": "scores_session"},
            },
        },
    }


def _servers() -> dict[str, Any]:
    gateway = {"default": "localhost:8080", "description": "SCORES_PUBLIC_URL of the deployment."}
    receiver = {"default": "sis.district.test", "description": "Of the endpoint, as its owner gave it."}
    return {
        "kafka": {"host": "localhost:9092", "protocol": "kafka", "description": "Inside the deployment."},
        "gateway": {
            "host": "{gateway}",
            "protocol": "https",
            "variables": {"gateway": gateway},
            "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("bearer", "session")],
        },
        "receiver": {"host": "{receiver}", "protocol": "https", "variables": {"receiver": receiver}},
    }


def _topic_channel(topic: Topic) -> dict[str, Any]:
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


def _stream_channel() -> dict[str, Any]:
    return {
        "address": "/v1/stream",
        "description": openapi_document()["paths"]["/v1/stream"]["get"]["description"],
        "servers": [{"$ref": "#/servers/gateway"}],
        "messages": _references(f"stream.{name.lower()}" for name in _STREAM_EVENTS),
    }


def _webhook_channel() -> dict[str, Any]:
    return {
        "address": None,  # each endpoint's own
        "description": "Standard Webhooks: one message to one endpoint, with a signature. Any 2xx takes it; otherwise it is "
        "tried again. A message may come twice with the same id, and those of different organizations in any order.",
        "servers": [{"$ref": "#/servers/receiver"}],
        "messages": _references(f"webhook.{event_of(payload)}" for payload in PAYLOADS),
    }


def _topic_operation(topic: str) -> str:
    words = topic.removesuffix(".v1").replace(".", "-").split("-")
    return _TOPICS[topic].action + "".join(word.capitalize() for word in words)


def _topic_action(topic: str) -> dict[str, Any]:
    return {"action": _TOPICS[topic].action, "channel": _channel(topic), "summary": _TOPICS[topic].summary}


def _stream_operation() -> dict[str, Any]:
    parameters = openapi_document()["paths"]["/v1/stream"]["get"]["parameters"]
    asked = {
        one["name"]: one["schema"] | {"description": one["description"]}
        for one in parameters
        if one["in"] == "query"
    }
    query = {"type": "object", "properties": asked, "required": ["topic"]}
    return {
        "action": "send",
        "channel": _channel("stream"),
        "summary": "Live results of the asked topics, as server-sent events.",
        "bindings": {"http": {"method": "GET", "query": query, "bindingVersion": "0.3.0"}},
    }


def _webhook_operation() -> dict[str, Any]:
    return {
        "action": "send",
        "channel": _channel("webhooks"),
        "summary": "Tell an endpoint what changed.",
        "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
    }


def _messages() -> dict[str, Any]:
    messages = {topic: _record(topic, text) for topic, text in _TOPICS.items()}
    for name in _STREAM_EVENTS:
        messages[f"stream.{name.lower()}"] = {
            "name": name.lower(),
            "summary": f"The data of an event `{name.lower()}`.",
            "contentType": "text/event-stream",
            "payload": _schema(name),
        }
    for payload in PAYLOADS:
        messages[f"webhook.{event_of(payload)}"] = {
            "name": event_of(payload).value,
            "headers": _schema("WebhookHeaders"),
            "payload": _schema(payload.__name__),
            "examples": [{"name": name, "payload": value} for name, value in examples_of(payload)],
        }
    return messages


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
        record["payload"] = _schema(text.body.__name__)
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


def _webhook_headers() -> dict[str, Any]:
    properties = {
        name: header["schema"] | {"description": header["description"]}
        for name, header in SIGNING_HEADERS.items()
    }
    return {"type": "object", "properties": properties, "required": list(SIGNING_HEADERS)}


def _schemas() -> dict[str, Any]:
    bodies = dict.fromkeys(text.body for text in _TOPICS.values() if text.body is not None)
    _, described = msgspec.json.schema_components(bodies, ref_template=_SCHEMA)
    shown = openapi_document()["components"]["schemas"]
    schemas: dict[str, Any] = with_clean_descriptions(
        {
            **described,
            **{name: shown[name] for name in ("Organization", *_STREAM_EVENTS)},
            **webhook_schemas(_SCHEMA),
            "WebhookHeaders": _webhook_headers(),
        }
    )
    return schemas


def _schema(name: str) -> dict[str, Any]:
    return {"$ref": _SCHEMA.format(name=name)}


def _channel(name: str) -> dict[str, Any]:
    return {"$ref": f"#/channels/{name}"}


def _references(messages: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}

"""The description of everything that this service sends and takes without being asked: ``docs/asyncapi.yaml``, AsyncAPI 3.0.

Kafka's topics, the stream of server-sent events, and webhooks. It is made of the types that encode and decode them, so it says
nothing that is not so; ``tests/contract/test_asyncapi.py`` keeps the file up to date.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from cli.asyncapi_parts import SCHEMA_NAMES, channel_reference, schema_reference
from cli.asyncapi_topics import record_bodies, topic_channels, topic_messages, topic_operations
from gateway.live_schemas import STREAM_EVENTS
from gateway.openapi import document as openapi_document
from schemas.json_schema import with_clean_descriptions
from schemas.webhooks.examples import examples_of
from schemas.webhooks.openapi import SIGNING_HEADERS, event_of, webhook_schemas
from schemas.webhooks.payload_types import PAYLOADS


def document() -> dict[str, Any]:
    """The whole document."""
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
        "channels": topic_channels() | {"stream": _stream_channel(), "webhooks": _webhook_channel()},
        "operations": topic_operations()
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


def _stream_channel() -> dict[str, Any]:
    return {
        "address": "/v1/stream",
        "description": openapi_document()["paths"]["/v1/stream"]["get"]["description"],
        "servers": [{"$ref": "#/servers/gateway"}],
        "messages": _references(f"stream.{name.lower()}" for name in STREAM_EVENTS),
    }


def _webhook_channel() -> dict[str, Any]:
    return {
        "address": None,  # each endpoint's own
        "description": "Standard Webhooks: one message to one endpoint, with a signature. Any 2xx takes it; otherwise it is "
        "tried again. A message may come twice with the same id, and those of different organizations in any order.",
        "servers": [{"$ref": "#/servers/receiver"}],
        "messages": _references(f"webhook.{event_of(payload)}" for payload in PAYLOADS),
    }


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
        "channel": channel_reference("stream"),
        "summary": "Live results of the asked topics, as server-sent events.",
        "bindings": {"http": {"method": "GET", "query": query, "bindingVersion": "0.3.0"}},
    }


def _webhook_operation() -> dict[str, Any]:
    return {
        "action": "send",
        "channel": channel_reference("webhooks"),
        "summary": "Tell an endpoint what changed.",
        "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
    }


def _messages() -> dict[str, Any]:
    messages = topic_messages()
    for name in STREAM_EVENTS:
        messages[f"stream.{name.lower()}"] = {
            "name": name.lower(),
            "summary": f"The data of an event `{name.lower()}`.",
            "contentType": "text/event-stream",
            "payload": schema_reference(name),
        }
    for payload in PAYLOADS:
        messages[f"webhook.{event_of(payload)}"] = {
            "name": event_of(payload).value,
            "headers": schema_reference("WebhookHeaders"),
            "payload": schema_reference(payload.__name__),
            "examples": [{"name": name, "payload": value} for name, value in examples_of(payload)],
        }
    return messages


def _webhook_headers() -> dict[str, Any]:
    properties = {
        name: header["schema"] | {"description": header["description"]}
        for name, header in SIGNING_HEADERS.items()
    }
    return {"type": "object", "properties": properties, "required": list(SIGNING_HEADERS)}


def _schemas() -> dict[str, Any]:
    _, described = msgspec.json.schema_components(record_bodies(), ref_template=SCHEMA_NAMES)
    shown = openapi_document()["components"]["schemas"]
    schemas: dict[str, Any] = with_clean_descriptions(
        {
            **described,
            **{name: shown[name] for name in ("Organization", *STREAM_EVENTS)},
            **webhook_schemas(SCHEMA_NAMES),
            "WebhookHeaders": _webhook_headers(),
        }
    )
    return schemas


def _references(messages: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in messages}

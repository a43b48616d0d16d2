"""The webhooks of the API's description are those that are sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.webhooks.endpoints import EventType
from schemas.webhooks.examples import ENDPOINT, NOON_MS, examples
from schemas.webhooks.ids import message_id
from schemas.webhooks.openapi import SIGNING_HEADERS, webhook_schemas, webhooks_section
from schemas.webhooks.secrets import new_secret
from schemas.webhooks.signing import signed_headers


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def test_every_event_type_is_described() -> None:
    assert set(webhooks_section()) == set(EventType)
    assert len({operation["post"]["operationId"] for operation in webhooks_section().values()}) == len(
        EventType
    )


def test_the_description_can_be_sent_as_json_and_leads_to_its_own_schemas() -> None:
    section, schemas = webhooks_section(), webhook_schemas()
    assert json.loads(json.dumps([section, schemas])) == [section, schemas]
    found = set(references([section, schemas]))
    assert found == {f"#/components/schemas/{name}" for name in schemas}


def test_every_body_says_that_it_is_preliminary() -> None:
    for operation in webhooks_section().values():
        [name] = references(operation["post"]["requestBody"]["content"]["application/json"]["schema"])
        schema = webhook_schemas()[name.rpartition("/")[2]]
        assert schema["required"] == ["type", "timestamp", "preliminary", "data"]
        assert schema["properties"]["preliminary"]["const"] is True


def test_the_examples_are_bodies_as_they_are_sent() -> None:
    shown = {
        name: example["value"]
        for operation in webhooks_section().values()
        for name, example in operation["post"]["requestBody"]["content"]["application/json"][
            "examples"
        ].items()
    }
    assert shown == {name: msgspec.json.decode(body.content) for name, body in examples().items()}


def test_the_headers_that_are_sent_have_the_forms_that_are_described() -> None:
    body = examples()["aggregate.updated"].content
    secrets = new_secret("v1", bytes(32)), new_secret("v1a", bytes(32))
    sent = signed_headers(secrets, message_id(ENDPOINT, body), NOON_MS // 1_000, body, version="0.1.0")
    for name, header in SIGNING_HEADERS.items():
        assert re.fullmatch(header["schema"]["pattern"], sent[name]), name


def test_only_the_ping_tells_how_to_confirm() -> None:
    telling = [
        name for name, item in webhooks_section().items() if "webhook-confirmation" in json.dumps(item)
    ]
    assert telling == [EventType.ENDPOINT_PING]

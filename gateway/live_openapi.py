"""The part of the API's description that is about live results: the stream, its commands, and results as they stand."""

from __future__ import annotations

from typing import Any, Final

from gateway.live_schemas import GRADE, TEST, TOPIC
from gateway.openapi_parts import (
    CDS,
    YEAR,
    json_answer,
    query_parameter,
    refusals,
    shared_answers,
)

_STREAM_TEXT: Final = """\
Server-sent events. `subscribed` names the stream and says what it watches; forget what it calls `dropped`. `put` replaces all that you have of the organizations it names; `patch` brings changed cells, absolute
and versioned: take a cell when its `version` or its `changed` is later than what you have. `results: 0` means that the
last result moved away. `progress` says up to when the data are complete. `stale`, in the latest of these three, means
that older results are still missing: the figures are being built anew. `challenge` comes before the token expires:
renew. `bye` ends the stream; come back after `retry_ms` unless `reconnect` is false; it is also the answer when there are
too many streams. Streams live ten minutes, more or less; reconnecting with `Last-Event-ID` brings what changed since,
or a `put`."""


def reading_paths() -> dict[str, Any]:
    """Results, pushed and asked for."""
    narrowing = [
        query_parameter(
            "year", _several(YEAR), "School years, by the year in which they end; repeated: any of them."
        ),
        query_parameter("test", _several(TEST), "Test codes, e.g. ELA-SUM; repeated: any of them."),
        query_parameter("grade", _several(GRADE), "KG or 1 to 12; repeated: any of them."),
    ]
    return {
        "/v1/stream": {
            "get": {
                "operationId": "stream",
                "summary": "Live results",
                "description": _STREAM_TEXT,
                "parameters": [
                    {
                        "name": "topic",
                        "in": "query",
                        "required": True,
                        "description": "school/CDS, district/CDS, county/CDS or state/CDS, or all of one level below: "
                        "district/CDS/schools, county/CDS/districts, state/CDS/counties and so on; up to 500, repeated, "
                        "and up to 2,000 organizations altogether.",
                        "schema": _several(TOPIC),
                        "examples": {
                            "district": {"value": ["district/19647330000000"]},
                            "its schools": {"value": ["district/19647330000000/schools"]},
                        },
                    },
                    *narrowing,
                    query_parameter(
                        "ticket",
                        {"type": "string"},
                        "Instead of a token and all of the above: a ticket, which says both.",
                    ),
                    {
                        "name": "Last-Event-ID",
                        "in": "header",
                        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"},
                    },
                    query_parameter(
                        "last_event_id",
                        {"type": "string"},
                        "As the header, for a first connect; the header wins. Also lastEventId.",
                    ),
                    query_parameter(
                        "since",
                        {"type": "string", "examples": ["2026-05-04T12:00:00Z", "1777896000000"]},
                        "For a first connect without an id: only cells that changed later. A time with its zone, or "
                        "milliseconds since 1970.",
                    ),
                ],
                "responses": {
                    "200": {
                        "description": "A stream; also when it only says bye.",
                        "content": {"text/event-stream": {"schema": {"$ref": "#/components/schemas/Event"}}},
                    },
                    **refusals("400", "401", "403"),
                    **shared_answers({"406": "NotAcceptable"}),
                },
            }
        },
        "/v1/aggregates/{organization}": {
            "get": {
                "operationId": "aggregates",
                "summary": "All cells of one organization, as they stand",
                "parameters": [
                    {"name": "organization", "in": "path", "required": True, "schema": CDS},
                    *narrowing,
                    query_parameter("format", {"enum": ["json", "csv"]}, "Or Accept: text/csv."),
                ],
                "responses": {
                    "200": {
                        "description": "Absolute, versioned figures.",
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Aggregates"}},
                            "text/csv": {"schema": {"type": "string"}},
                        },
                    },
                    **refusals("400", "401", "403", "503"),
                },
            }
        },
        "/v1/organizations": {
            "get": {
                "operationId": "organizations",
                "summary": "The organizations that you may see",
                "parameters": [query_parameter("under", CDS, "Only this organization and those below it.")],
                "responses": {
                    "200": json_answer("In the order of their codes.", "Organizations"),
                    **refusals("400", "401", "403", "503"),
                },
            }
        },
    }


def command_paths() -> dict[str, Any]:
    """What may be asked of an open stream."""
    stream = {"name": "stream", "in": "path", "required": True, "schema": {"type": "string"}}
    accepted = json_answer("Taken; the stream itself confirms with `subscribed`.", "Stream")
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/SubscriptionRequest"}}}
    return {
        "/v1/streams/{stream}/subscription": {
            "post": {
                "operationId": "changeSubscription",
                "summary": "Let an open stream watch something else",
                "description": "Replaces topics and filters. The stream then brings what is new, and names what to forget. "
                "Any node takes it.",
                "parameters": [stream],
                "requestBody": {"required": True, "content": body},
                "responses": {
                    "202": accepted,
                    **refusals("400", "401", "403", "503"),
                    **shared_answers(
                        {"404": "NoStream", "413": "TooLarge", "415": "NotJson", "429": "TooOften"}
                    ),
                },
            }
        },
        "/v1/streams/{stream}/renew": {
            "post": {
                "operationId": "renewStream",
                "summary": "Let an open stream go on with the token of this request",
                "description": "The token must be the same subject's, and open all that the stream watches.",
                "parameters": [stream],
                "responses": {
                    "202": accepted,
                    **refusals("400", "401", "403", "503"),
                    **shared_answers({"404": "NoStream", "429": "TooOften"}),
                },
            }
        },
    }


def _several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}

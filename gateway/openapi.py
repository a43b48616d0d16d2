"""The description of this API, OpenAPI 3.1. What leaves as structs is described from the structs, so it cannot drift."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import msgspec

from gateway.access_openapi import ACCESS_STRUCTS, access_paths
from gateway.closing_openapi import CLOSING_STRUCTS, closing_paths
from gateway.openapi_parts import CDS, json_answer, query_parameter, shared_answers
from gateway.operations.openapi import OPERATIONS_STRUCTS, operations_paths
from gateway.public_openapi import public_paths
from gateway.releases.openapi import DESCRIBED, release_paths
from gateway.subscriptions import SubscriptionRequest
from gateway.webhooks.openapi import WEBHOOK_STRUCTS, webhook_paths
from schemas.access.permissions import GroupKind
from schemas.figures import Figures
from schemas.organization_list import OrganizationSummary
from schemas.webhooks.openapi import webhook_schemas, webhooks_section

_TIME: Final = {"type": "string", "format": "date-time"}
_NULLABLE_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
_STALE: Final = {
    "const": True,
    "description": "Incomplete: the figures are being built anew from the log. Absent when they are whole.",
}
_PRELIMINARY: Final = {"const": True, "description": "Unreleased figures; they change daily."}

_STREAM_TEXT: Final = """\
Server-sent events. `subscribed` names the stream and says what it watches; forget what it calls `dropped`. `put` replaces all that you have of the organizations it names; `patch` brings changed cells, absolute
and versioned: take a cell when its `version` or its `changed` is later than what you have. `results: 0` means that the
last result moved away. `progress` says up to when the data are complete. `stale`, in the latest of these three, means
that older results are still missing: the figures are being built anew. `challenge` comes before the token expires:
renew. `bye` ends the stream; come back after `retry_ms` unless `reconnect` is false; it is also the answer when there are
too many streams. Streams live ten minutes, more or less; reconnecting with `Last-Event-ID` brings what changed since,
or a `put`."""

_TOPIC: Final = {
    "type": "string",
    "pattern": "^(school/[0-9]{14}|district/[0-9]{14}(/schools)?|county/[0-9]{14}(/(districts|schools))?"
    "|state/0{14}(/(counties|districts|schools))?)$",
}
_GRADE: Final = {"type": "string", "examples": ["KG", "3", "11"]}
_TEST: Final = {"type": "string", "examples": ["ELA-SUM"]}
_YEAR: Final = {"type": "integer", "minimum": 2000, "maximum": 2199}


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Score streaming gateway",
            "version": "1",
            "summary": "Live, exact, preliminary assessment results.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"session": []}],
        "paths": _read_paths()
        | _command_paths()
        | _session_paths()
        | access_paths()
        | _import_paths()
        | release_paths()
        | closing_paths()
        | operations_paths()
        | webhook_paths()
        | public_paths()
        | _operation_paths(),
        "webhooks": webhooks_section(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT (RFC 9068)"},
                "session": {"type": "apiKey", "in": "cookie", "name": "scores_session"},
            },
            "schemas": _schemas(),
            "responses": {
                "BadRequest": _problem("A value is wrong; the detail names it and the remedy."),
                "Unauthorized": _problem("No token, or one that opens nothing."),
                "Forbidden": _problem("Not permitted, or there is no such organization: the same answer."),
                "NoEndpoint": _problem(
                    "There is no such webhook endpoint or message, or this token does not open it: the same answer."
                ),
                "Conflict": _problem("It does not fit what there is; the detail says what to do about it."),
                "NoStream": _problem("You have no such stream, or not any more; open a new one."),
                "NotAcceptable": _problem("The Accept header excludes text/event-stream."),
                "TooLarge": _problem("The body is too large; the detail names the limit."),
                "NotJson": _problem("The body is not declared as application/json."),
                "TooOften": _problem("Too many changes of this stream; ask again after Retry-After seconds."),
                "Unavailable": _problem("Not now; ask again after Retry-After seconds."),
            },
        },
    }


def _read_paths() -> dict[str, Any]:
    narrowing = [
        query_parameter(
            "year", _several(_YEAR), "School years, by the year in which they end; repeated: any of them."
        ),
        query_parameter("test", _several(_TEST), "Test codes, e.g. ELA-SUM; repeated: any of them."),
        query_parameter("grade", _several(_GRADE), "KG or 1 to 12; repeated: any of them."),
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
                        "schema": _several(_TOPIC),
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
                    **_refusals(),
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
                    **_refusals(unavailable=True),
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
                    **_refusals(unavailable=True),
                },
            }
        },
    }


def _command_paths() -> dict[str, Any]:
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
                    **_refusals(unavailable=True),
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
                    **_refusals(unavailable=True),
                    **shared_answers({"404": "NoStream", "429": "TooOften"}),
                },
            }
        },
    }


def _session_paths() -> dict[str, Any]:
    return {
        "/v1/session": {
            "get": {
                "operationId": "session",
                "summary": "Who you are here, and what is granted",
                "responses": {"200": json_answer("Your session.", "Session"), **_refusals()},
            },
            "post": {
                "operationId": "openSession",
                "summary": "Keep the header's token in a cookie, for EventSource",
                "security": [{"bearer": []}],
                "responses": {"204": {"description": "The cookie is set."}, **_refusals()},
            },
            "delete": {
                "operationId": "closeSession",
                "summary": "Forget the cookie",
                "security": [],
                "responses": {"204": {"description": "The cookie is gone."}},
            },
        }
    }


def _import_paths() -> dict[str, Any]:
    imported = {"schema": {"$ref": "#/components/schemas/Import"}}
    submitted = {"schema": {"type": "string", "format": "binary"}}
    kinds = ("application/xml", "application/json", "multipart/form-data")
    bearer: list[dict[str, list[str]]] = [{"bearer": []}]
    return {
        "/v1/exams/imports": {
            "post": {
                "operationId": "submitExams",
                "summary": "Submit exam reports; accepted means acknowledged by Kafka",
                "security": bearer,
                "parameters": [
                    query_parameter("batch", {"type": "string"}, "A name to ask for afterwards."),
                    query_parameter("filename", {"type": "string"}, "Where the report came from."),
                ],
                "requestBody": {"required": True, "content": {kind: submitted for kind in kinds}},
                "responses": {
                    "202": {
                        "description": "One import, or all with a summary.",
                        "content": {"application/json": imported},
                    },
                    **_refusals(unavailable=True),
                },
            },
            "get": {
                "operationId": "importBatch",
                "summary": "How many documents of a batch came to what",
                "security": bearer,
                "parameters": [query_parameter("batch", {"type": "string"}, "The batch's name.")],
                "responses": {
                    "200": {
                        "description": "Counts.",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    },
                    **_refusals(unavailable=True),
                },
            },
        },
        "/v1/exams/imports/{import_id}": {
            "get": {
                "operationId": "findImport",
                "summary": "What became of one document",
                "security": bearer,
                "parameters": [
                    {"name": "import_id", "in": "path", "required": True, "schema": {"type": "string"}}
                ],
                "responses": {
                    "200": {"description": "The import.", "content": {"application/json": imported}},
                    **_refusals(unavailable=True),
                },
            }
        },
    }


def _operation_paths() -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    status = {"application/json": {"schema": {"type": "object"}}}
    answers = {
        "/healthz": ("healthz", "Is the process alive", status),
        "/readyz": ("readyz", "May new work be sent here", status),
        "/metrics": ("metrics", "Prometheus metrics", {"text/plain": text}),
        "/openapi.json": ("openapi", "This document", status),
        "/": ("page", "The web page", {"text/html": text}),
        "/ops": ("operationsPage", "The operators' page", {"text/html": text}),
    }
    return {
        path: {
            "get": {
                "operationId": operation,
                "summary": summary,
                "security": [],
                "responses": {"200": {"description": summary + ".", "content": content}}
                | (
                    {"503": {"description": "No.", "content": status}}
                    if path in ("/healthz", "/readyz")
                    else {}
                ),
            }
        }
        for path, (operation, summary, content) in answers.items()
    }


def _schemas() -> dict[str, Any]:
    _, described = msgspec.json.schema_components(
        (
            Figures,
            OrganizationSummary,
            SubscriptionRequest,
            *DESCRIBED,
            *ACCESS_STRUCTS,
            *CLOSING_STRUCTS,
            *OPERATIONS_STRUCTS,
            *WEBHOOK_STRUCTS,
        ),
        ref_template="#/components/schemas/{name}",
    )
    cells = {"type": "array", "items": {"$ref": "#/components/schemas/Figures"}}
    whole = _object(
        {"id": CDS, "name": {"type": "string"}, "level": {"type": "string"}, "cells": cells},
    )
    put = {
        "preliminary": _PRELIMINARY,
        "stale": _STALE,
        "generation": {"type": "string"},
        "as_of": _TIME,
        "organizations": {"type": "array", "items": {"$ref": "#/components/schemas/Organization"}},
    }
    return {
        **webhook_schemas(),
        **msgspec.json.decode(msgspec.json.encode(described)),  # defaults as JSON has them: no tuples
        "Organization": whole,
        "Put": _object(put),
        "Patch": _object(
            {
                "preliminary": _PRELIMINARY,
                "stale": _STALE,
                "as_of": _TIME,
                "organizations": {"type": "array", "items": _object({"id": CDS, "cells": cells})},
            }
        ),
        "Progress": _object(
            {
                "complete": _NULLABLE_TIME,
                "as_of": _NULLABLE_TIME,
                "live": {"type": "boolean"},
                "stale": _STALE,
            }
        ),
        "Subscribed": _object(
            {
                "stream": {"type": "string"},
                "topics": {"type": "array", "items": _TOPIC},
                "tests": {"type": "array", "items": _TEST},
                "grades": {"type": "array", "items": _GRADE},
                "years": {"type": "array", "items": _YEAR},
                "organizations": {"type": "integer"},
                "expires": _TIME,
                "dropped": {"type": "array", "items": CDS, "description": "Forget these; absent when none."},
            },
            optional=("tests", "grades", "years", "dropped"),
        ),
        "Challenge": _object({"expires": _TIME, "renew": {"type": "string"}}),
        "Stream": _object({"stream": {"type": "string"}}),
        "Bye": _object(
            {
                "reason": {"type": "string"},
                "reconnect": {"type": "boolean"},
                "retry_ms": {"type": "integer"},
            }
        ),
        "Event": {
            "description": "The data of an event: subscribed, put, patch, progress, challenge, bye.",
            "oneOf": [
                {"$ref": f"#/components/schemas/{name}"}
                for name in ("Subscribed", "Put", "Patch", "Progress", "Challenge", "Bye")
            ],
        },
        "Aggregates": _object({**put, "complete": _NULLABLE_TIME}),
        "Organizations": _object(
            {
                "organizations": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/OrganizationSummary"},
                }
            }
        ),
        "Session": _object(
            {
                "subject": {"type": "string"},
                "expires": _TIME,
                "grants": {
                    "type": "array",
                    "items": _object(
                        {
                            "role": {"type": "string"},
                            "org": {"type": "string", "description": "The CDS code of an organization."},
                            "group": {"type": "string", "description": "Or the id of a configured group."},
                            "kind": {"enum": [kind.value for kind in GroupKind]},
                        },
                        optional=("org", "group", "kind"),
                    ),
                },
                "permissions": {
                    "type": "object",
                    "description": "For each permission that the grants come to, the organizations at and below which "
                    "it holds.",
                    "additionalProperties": {"type": "array", "items": CDS},
                },
                "student_groups": {
                    "type": "object",
                    "description": "For each permission of groups, the groups of students for which it holds.",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                },
            }
        ),
        "Import": {
            "type": "object",
            "description": "One import (id, digest, status, code, errors ...), or {imports, summary}.",
        },
        "Problem": _object(
            {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
            }
        ),
    }


def _object(properties: dict[str, Any], *, optional: Sequence[str] = ()) -> dict[str, Any]:
    required = [name for name, schema in properties.items() if schema is not _STALE and name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _several(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


def _problem(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content}


def _refusals(*, unavailable: bool = False) -> dict[str, Any]:
    names = {"400": "BadRequest", "401": "Unauthorized", "403": "Forbidden"}
    if unavailable:
        names["503"] = "Unavailable"
    return shared_answers(names)

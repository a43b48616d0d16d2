"""The description of this API, OpenAPI 3.1. What leaves as structs is described from the structs, so it cannot drift."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from gateway.access_openapi import ACCESS_STRUCTS, access_paths
from gateway.closing_openapi import CLOSING_STRUCTS, closing_paths
from gateway.imports.openapi import IMPORT_SCHEMA, import_paths
from gateway.live_openapi import command_paths, reading_paths
from gateway.live_schemas import live_schemas
from gateway.openapi_parts import object_schema
from gateway.operations.openapi import OPERATIONS_STRUCTS, operations_paths
from gateway.public_openapi import public_paths
from gateway.releases.openapi import DESCRIBED, release_paths
from gateway.session_openapi import session_paths, session_schema
from gateway.subscriptions import SubscriptionRequest
from gateway.webhooks.openapi import WEBHOOK_STRUCTS, webhook_paths
from schemas.figures import Figures
from schemas.organization_list import OrganizationSummary
from schemas.webhooks.openapi import webhook_schemas, webhooks_section


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
        "paths": reading_paths()
        | command_paths()
        | session_paths()
        | access_paths()
        | import_paths()
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
    return {
        **webhook_schemas(),
        **msgspec.json.decode(msgspec.json.encode(described)),  # defaults as JSON has them: no tuples
        **live_schemas(),
        "Session": session_schema(),
        "Import": IMPORT_SCHEMA,
        "Problem": object_schema(
            {
                "type": {"type": "string"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
            }
        ),
    }


def _problem(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content}

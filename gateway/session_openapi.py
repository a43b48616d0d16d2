"""The part of the API's description that is about sessions."""

from __future__ import annotations

from typing import Any

from gateway.openapi_parts import CDS, TIME, json_answer, object_schema, refusals
from schemas.access.permissions import GroupKind


def session_paths() -> dict[str, Any]:
    """The paths of this area."""
    return {
        "/v1/session": {
            "get": {
                "operationId": "session",
                "summary": "Who you are here, and what is granted",
                "responses": {
                    "200": json_answer("Your session.", "Session"),
                    **refusals("400", "401", "403"),
                },
            },
            "post": {
                "operationId": "openSession",
                "summary": "Keep the header's token in a cookie, for EventSource",
                "security": [{"bearer": []}],
                "responses": {"204": {"description": "The cookie is set."}, **refusals("400", "401", "403")},
            },
            "delete": {
                "operationId": "closeSession",
                "summary": "Forget the cookie",
                "security": [],
                "responses": {"204": {"description": "The cookie is gone."}},
            },
        }
    }


def session_schema() -> dict[str, Any]:
    """Who somebody is here."""
    return object_schema(
        {
            "subject": {"type": "string"},
            "expires": TIME,
            "grants": {
                "type": "array",
                "items": object_schema(
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
    )

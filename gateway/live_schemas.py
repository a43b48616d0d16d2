"""How the API's description words what is live: figures of organizations, and the events of a stream."""

from __future__ import annotations

from typing import Any, Final

from gateway.openapi_parts import CDS, TIME, YEAR, object_schema

TOPIC: Final = {
    "type": "string",
    "pattern": "^(school/[0-9]{14}|district/[0-9]{14}(/schools)?|county/[0-9]{14}(/(districts|schools))?"
    "|state/0{14}(/(counties|districts|schools))?)$",
}
GRADE: Final = {"type": "string", "examples": ["KG", "3", "11"]}
TEST: Final = {"type": "string", "examples": ["ELA-SUM"]}

STREAM_EVENTS: Final = ("Subscribed", "Put", "Patch", "Progress", "Challenge", "Bye")

_NULLABLE_TIME: Final = {"type": ["string", "null"], "format": "date-time"}
_STALE: Final = {
    "const": True,
    "description": "Incomplete: the figures are being built anew from the log. Absent when they are whole.",
}
_PRELIMINARY: Final = {"const": True, "description": "Unreleased figures; they change daily."}


def live_schemas() -> dict[str, Any]:
    """What answers and events look like; ``Figures`` and ``OrganizationSummary`` are structs, and described elsewhere."""
    cells = {"type": "array", "items": {"$ref": "#/components/schemas/Figures"}}
    whole = object_schema(
        {"id": CDS, "name": {"type": "string"}, "level": {"type": "string"}, "cells": cells},
    )
    put = {
        "preliminary": _PRELIMINARY,
        "stale": _STALE,
        "generation": {"type": "string"},
        "as_of": TIME,
        "organizations": {"type": "array", "items": {"$ref": "#/components/schemas/Organization"}},
    }
    return {
        "Organization": whole,
        "Put": object_schema(put, optional=("stale",)),
        "Patch": object_schema(
            {
                "preliminary": _PRELIMINARY,
                "stale": _STALE,
                "as_of": TIME,
                "organizations": {"type": "array", "items": object_schema({"id": CDS, "cells": cells})},
            },
            optional=("stale",),
        ),
        "Progress": object_schema(
            {
                "complete": _NULLABLE_TIME,
                "as_of": _NULLABLE_TIME,
                "live": {"type": "boolean"},
                "stale": _STALE,
            },
            optional=("stale",),
        ),
        "Subscribed": object_schema(
            {
                "stream": {"type": "string"},
                "topics": {"type": "array", "items": TOPIC},
                "tests": {"type": "array", "items": TEST},
                "grades": {"type": "array", "items": GRADE},
                "years": {"type": "array", "items": YEAR},
                "organizations": {"type": "integer"},
                "expires": TIME,
                "dropped": {"type": "array", "items": CDS, "description": "Forget these; absent when none."},
            },
            optional=("tests", "grades", "years", "dropped"),
        ),
        "Challenge": object_schema({"expires": TIME, "renew": {"type": "string"}}),
        "Stream": object_schema({"stream": {"type": "string"}}),
        "Bye": object_schema(
            {
                "reason": {"type": "string"},
                "reconnect": {"type": "boolean"},
                "retry_ms": {"type": "integer"},
            }
        ),
        "Event": {
            "description": "The data of an event: subscribed, put, patch, progress, challenge, bye.",
            "oneOf": [{"$ref": f"#/components/schemas/{name}"} for name in STREAM_EVENTS],
        },
        "Aggregates": object_schema({**put, "complete": _NULLABLE_TIME}, optional=("stale",)),
        "Organizations": object_schema(
            {
                "organizations": {
                    "type": "array",
                    "items": {"$ref": "#/components/schemas/OrganizationSummary"},
                }
            }
        ),
    }

"""The part of the API's description that is about closing a test."""

from __future__ import annotations

from typing import Any, Final

from gateway.closing_answers import AcceptedClosing, ClosingOrder, ClosingsAnswer
from gateway.openapi_parts import YEAR, json_answer, refusals

CLOSINGS_PATH: Final = "/v1/closings"
CLOSING_STRUCTS: Final = (ClosingOrder, AcceptedClosing, ClosingsAnswer)

_PLACE: Final = (
    ("year", YEAR),
    ("test", {"type": "string", "examples": ["ELA-SUM"]}),
)


def closing_paths() -> dict[str, Any]:
    """The paths of this area."""
    return {
        CLOSINGS_PATH: {
            "get": {
                "operationId": "closings",
                "summary": "Tests of a year that are, were or will be closed",
                "description": "Results that come while their test is closed are parked, and change no figure.",
                "responses": {
                    "200": json_answer("From when to when.", "ClosingsAnswer"),
                    **refusals("401", "503"),
                },
            }
        },
        f"{CLOSINGS_PATH}/{{year}}/{{test}}": {
            "put": {
                "operationId": "changeClosing",
                "summary": "Close a test of a year for later results, or open it again",
                "description": "Takes TEST_DATA_REVIEWING_WRITE at the state. It takes effect ten seconds after it is accepted, or "
                "at `at` when that is later. Parked results stay parked until an operator retries them.",
                "security": [{"bearer": []}],
                "parameters": [
                    {"name": name, "in": "path", "required": True, "schema": schema}
                    for name, schema in _PLACE
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/ClosingOrder"}}
                    },
                },
                "responses": {
                    "202": json_answer("Accepted, and safe in Kafka.", "AcceptedClosing"),
                    **refusals("400", "401", "403", "413", "415", "503"),
                },
            }
        },
    }

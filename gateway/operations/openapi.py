"""The part of the API's description that is for operators."""

from __future__ import annotations

from typing import Any, Final

from gateway.openapi_parts import json_answer, query_parameter, refusals
from gateway.operations.answers import HistoryAnswer, OperationsAnswer
from schemas.operations import HISTORY_SECONDS

OPERATIONS_PATH: Final = "/v1/operations"
HISTORY_PATH: Final = "/v1/operations/history"
LONGEST_HOURS: Final = HISTORY_SECONDS // 3_600
OPERATIONS_STRUCTS: Final = (OperationsAnswer, HistoryAnswer)


def operations_paths() -> dict[str, Any]:
    """The paths of this area."""
    return {
        OPERATIONS_PATH: {
            "get": {
                "operationId": "operations",
                "summary": "How the service is doing: verdicts, lag, and what to do first",
                "description": "Takes OPERATIONS_READ at the state. `monitored` is false when nobody judges; the rest is old then.",
                "responses": {
                    "200": json_answer("The latest judgement.", "OperationsAnswer"),
                    **refusals("401", "403", "503"),
                },
            }
        },
        HISTORY_PATH: {
            "get": {
                "operationId": "operationsHistory",
                "summary": "The figures of the last hours, for charts",
                "description": "Takes OPERATIONS_READ at the state. Lag by reader (`lag/streams`), latency by stage of the canary "
                "(`canary/push`), events, rejections and more, as they are there.",
                "parameters": [
                    query_parameter(
                        "hours",
                        {"type": "integer", "minimum": 1, "maximum": LONGEST_HOURS, "default": 1},
                        "How far back.",
                    )
                ],
                "responses": {
                    "200": json_answer("Up to 360 steps.", "HistoryAnswer"),
                    **refusals("400", "401", "403", "503"),
                },
            }
        },
    }

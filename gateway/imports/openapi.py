"""The part of the API's description that is about imports."""

from __future__ import annotations

from typing import Any, Final

from gateway.openapi_parts import query_parameter, refusals

IMPORT_SCHEMA: Final = {
    "type": "object",
    "description": "One import (id, digest, status, code, errors ...), or {imports, summary}.",
}


def import_paths() -> dict[str, Any]:
    """The paths of this area."""
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
                    **refusals("400", "401", "403", "503"),
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
                    **refusals("400", "401", "403", "503"),
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
                    **refusals("400", "401", "403", "503"),
                },
            }
        },
    }

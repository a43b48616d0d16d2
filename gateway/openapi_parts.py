"""What the parts of the API's description say alike: a JSON answer, a refusal, a parameter."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

CDS: Final = {"type": "string", "pattern": "^[0-9]{14}$", "examples": ["19647330000000"]}
TIME: Final = {"type": "string", "format": "date-time"}
YEAR: Final = {"type": "integer", "minimum": 2000, "maximum": 2199}


def json_answer(description: str, schema: str) -> dict[str, Any]:
    """An answer whose body is one of the schemas."""
    return {"description": description, "content": json_content(schema)}


def json_content(schema: str) -> dict[str, Any]:
    """A JSON body of one of the schemas."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def shared_answers(names: dict[str, str]) -> dict[str, Any]:
    """Answers that many paths have, by status."""
    return {status: {"$ref": f"#/components/responses/{name}"} for status, name in names.items()}


_REFUSALS: Final = {
    "400": "BadRequest",
    "401": "Unauthorized",
    "403": "Forbidden",
    "413": "TooLarge",
    "415": "NotJson",
    "503": "Unavailable",
}


def refusals(*statuses: str) -> dict[str, Any]:
    """The usual answers of these statuses."""
    return shared_answers({status: _REFUSALS[status] for status in statuses})


def query_parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """A parameter in the address."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


def object_schema(properties: dict[str, Any], *, optional: Collection[str] = ()) -> dict[str, Any]:
    """An object that has all of these, but perhaps not the optional ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}

"""The public view in OpenAPI."""

from __future__ import annotations

from typing import Any, Final

from gateway.openapi_parts import CDS, YEAR, query_parameter

_CONDITIONAL: Final = (
    "Asked again with `If-None-Match`, it costs nothing while figures stand still: they move by groups of students, once in "
    "a publishing interval at most."
)


def public_paths() -> dict[str, Any]:
    """The paths; there only where the public view is open."""
    narrowing = [
        query_parameter(name, {"type": "array", "minItems": 1, "items": {"type": "string"}}, text)
        for name, text in (
            ("year", "School years, by the year in which they end; repeated: any of them."),
            ("test", "Test codes, e.g. ELA-SUM; repeated: any of them."),
            ("grade", "KG or 1 to 12; repeated: any of them."),
        )
    ]
    figures = {
        "type": "object",
        "required": ["preliminary", "organizations"],
        "properties": {
            "preliminary": {"const": True},
            "organizations": {"type": "array", "items": {"$ref": "#/components/schemas/Organization"}},
        },
    }
    listed = {
        "type": "object",
        "required": ["organizations"],
        "properties": {
            "organizations": {"type": "array", "items": {"$ref": "#/components/schemas/OrganizationSummary"}}
        },
    }
    csv = {"text/csv": {"schema": {"type": "string"}}}
    return {
        "/public/v1/organizations": _get(
            "publicOrganizations",
            "The directory",
            "All organizations, or those under one, by code.",
            [query_parameter("under", CDS, "Only this organization and what is below it.")],
            {"application/json": {"schema": listed}},
        ),
        "/public/v1/aggregates/{organization}": _get(
            "publicAggregates",
            "Published figures of one organization",
            "Released results only, after disclosure control: `suppressed` where too few students stand behind a figure. "
            + _CONDITIONAL,
            [
                {"name": "organization", "in": "path", "required": True, "schema": CDS},
                *narrowing,
                query_parameter(
                    "format", {"enum": ["json", "csv"]}, "The form; else the Accept header decides."
                ),
            ],
            {"application/json": {"schema": figures}, **csv},
        ),
        "/public/v1/research-file": _get(
            "publicResearchFile",
            "Everything that is published of one test and year",
            "CSV with the columns of the state's research files; `*` is suppressed, empty is not known here. Grade 13 is all "
            "grades, and only where each of them is shown. " + _CONDITIONAL,
            [
                {
                    **query_parameter("year", YEAR, "The school year."),
                    "required": True,
                },
                {
                    **query_parameter(
                        "test",
                        {"type": "string", "examples": ["ELA-SUM", "1"]},
                        "A test code, or the state's number of a test.",
                    ),
                    "required": True,
                },
            ],
            csv,
        ),
    }


def _get(
    operation: str, summary: str, description: str, parameters: list[dict[str, Any]], content: dict[str, Any]
) -> dict[str, Any]:
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "description": description,
            "security": [],
            "parameters": parameters,
            "responses": {
                "200": {"description": summary + ".", "content": content},
                "304": {"description": "It is what the caller has."},
                "400": {"$ref": "#/components/responses/BadRequest"},
                "404": {
                    "description": "There is no such organization, or no public view.",
                    "content": {
                        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                    },
                },
                "503": {"$ref": "#/components/responses/Unavailable"},
            },
        }
    }

"""The part of the API's description that is about release states."""

from __future__ import annotations

from typing import Any, Final

from gateway.openapi_parts import YEAR, json_answer, refusals
from gateway.releases.answers import ChangesAnswer, ReleaseOrder, ReleasesAnswer
from gateway.releases.changing import RELEASES_PATH
from gateway.releases.wanted import COLUMNS
from schemas.releases import SUBJECTS, ReleaseState, Report

DESCRIBED: Final = (ReleaseOrder, ReleasesAnswer, ChangesAnswer)
"""What leaves and enters as structs; the document describes it from them."""

_DISTRICT: Final = {"type": "string", "pattern": "^[0-9]{7}0{7}$", "examples": ["19647330000000"]}
_SUBJECT: Final = {"enum": list(SUBJECTS)}
_REPORT: Final = {"enum": [report.value for report in Report]}
_STATES: Final = ", ".join(state.word for state in ReleaseState)
_CSV: Final = {"text/csv": {"schema": {"type": "string", "examples": [",".join(COLUMNS)]}}}
_TEXT: Final = (
    "Moving between loading and reviewing takes TEST_DATA_LOADING_WRITE at the district, between reviewing and released "
    "TEST_DATA_REVIEWING_WRITE, between loading and released both. Whoever loads and is a district's reviewer, too, is "
    "refused. What has the wanted state already changes nothing."
)


def release_paths() -> dict[str, Any]:
    """The paths of this area."""
    narrowing = [
        {
            "name": name,
            "in": "query",
            "description": "Repeated: any of them.",
            "schema": {"type": "array", "minItems": 1, "items": schema},
        }
        for name, schema in (
            ("year", YEAR),
            ("district", _DISTRICT),
            ("subject", _SUBJECT),
            ("report", _REPORT),
        )
    ]
    place = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in (
            ("year", YEAR),
            ("district", _DISTRICT),
            ("subject", _SUBJECT),
            ("report", _REPORT),
        )
    ]
    return {
        RELEASES_PATH: {
            "get": {
                "operationId": "releases",
                "summary": "Release states of the districts that the caller may know",
                "description": f"States are {_STATES}; `unlisted` is the state of what is not listed.",
                "parameters": narrowing,
                "responses": {
                    "200": json_answer("The states.", "ReleasesAnswer"),
                    **refusals("400", "401", "403", "503"),
                },
            }
        },
        f"{RELEASES_PATH}.csv": {
            "get": {
                "operationId": "exportReleases",
                "summary": "The same as CSV, which the import takes back",
                "parameters": narrowing,
                "responses": {
                    "200": {"description": "The states.", "content": _CSV},
                    **refusals("400", "401", "403", "503"),
                },
            }
        },
        f"{RELEASES_PATH}/import": {
            "post": {
                "operationId": "importReleases",
                "summary": "Change all states that a file names, or none",
                "description": f"Columns {', '.join(COLUMNS)} in any order; others are passed over. {_TEXT} A refusal lists "
                "all faults under `errors`, each with line, field, value and error.",
                "security": [{"bearer": []}],
                "requestBody": {"required": True, "content": _CSV},
                "responses": _changed(),
            }
        },
        f"{RELEASES_PATH}/{{year}}/{{district}}/{{subject}}/{{report}}": {
            "put": {
                "operationId": "changeRelease",
                "summary": "Change one release state",
                "description": _TEXT,
                "security": [{"bearer": []}],
                "parameters": place,
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/ReleaseOrder"}}
                    },
                },
                "responses": _changed(),
            }
        },
    }


def _changed() -> dict[str, Any]:
    return {
        "200": json_answer("Changed, and in effect.", "ChangesAnswer"),
        "202": json_answer("Accepted, and safe in Kafka; not in effect yet.", "ChangesAnswer"),
        **refusals("400", "401", "403", "503", "413"),
    }

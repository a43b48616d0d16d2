"""The API's description describes this API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from gateway.health import health_routes
from gateway.openapi import document
from gateway.routes import api_routes
from gateway.stream_routes import stream_routes


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (path, method.upper()): operation
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }


def test_every_reference_leads_somewhere() -> None:
    found = set(references(document()))
    assert found
    for reference in found:
        place: Any = document()
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_component_is_used() -> None:
    used = set(references(document()))
    components = document()["components"]
    defined = {
        f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in components[kind]
    }
    assert defined == used


def test_every_route_is_described() -> None:
    routed = {
        (route.path, method)
        for route in (*api_routes(), *stream_routes(), *health_routes())
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routed <= set(operations())


def test_operations_have_names_of_their_own_summaries_and_answers() -> None:
    described = list(operations().values())
    names = [operation["operationId"] for operation in described]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] and operation["responses"] for operation in described)


def test_every_parameter_in_a_path_is_declared() -> None:
    for (path, _), operation in operations().items():
        declared = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert set(re.findall(r"{(\w+)}", path)) == declared


def test_everything_with_figures_says_preliminary() -> None:
    schemas = document()["components"]["schemas"]
    for name in ("Put", "Patch", "Aggregates"):
        assert schemas[name]["properties"]["preliminary"]["const"] is True
        assert "preliminary" in schemas[name]["required"]


def test_the_document_is_json() -> None:
    assert json.loads(json.dumps(document())) == document()

"""The API's description describes this API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from fake_imports import MemoryPublisher

from gateway.health import health_routes
from gateway.openapi import document
from gateway.operations.routes import operations_routes
from gateway.page_files import page_routes
from gateway.public_routes import PublicView
from gateway.public_settings import PublicSettings
from gateway.releases.changing import ReleaseChanges
from gateway.releases.routes import release_routes
from gateway.revocation_routes import revocation_routes
from gateway.routes import api_routes
from gateway.stream_routes import stream_routes
from gateway.ticket_routes import ticket_routes
from schemas.releases import Releases


class NoTables:
    async def releases(self, known: Releases | None) -> Releases | None:
        return known


from schemas.assessments import load_registry


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
    changes = ReleaseChanges(NoTables(), MemoryPublisher())
    public = PublicView(PublicSettings(is_open=True, publish_seconds=60), load_registry().at)
    routed = {
        (route.path, method)
        for route in (
            *api_routes(),
            *stream_routes(),
            *ticket_routes(),
            *revocation_routes(),
            *health_routes(),
            *release_routes(changes),
            *public.routes(),
            *operations_routes(None),  # type: ignore[arg-type]  # nothing is asked
            *(route for route in page_routes() if not route.path.startswith("/page/")),
        )
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

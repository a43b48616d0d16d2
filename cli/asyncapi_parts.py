"""How the parts of the AsyncAPI document name one another."""

from __future__ import annotations

from typing import Any, Final

SCHEMA_NAMES: Final = "#/components/schemas/{name}"


def schema_reference(name: str) -> dict[str, Any]:
    """A schema of the document."""
    return {"$ref": SCHEMA_NAMES.format(name=name)}


def channel_reference(name: str) -> dict[str, Any]:
    """A channel of the document."""
    return {"$ref": f"#/channels/{name}"}

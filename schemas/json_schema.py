"""JSON Schema of the events, for producers and consumers that are not written in Python."""

from __future__ import annotations

import json
from inspect import cleandoc
from typing import Any

import msgspec

from schemas.events import EVENT_TYPES


def json_schema(event_type: str) -> bytes:
    """The schema of an event's body, as text with a stable layout.

    Raises:
        KeyError: ``event_type`` is none of ``EVENT_TYPES``.
    """
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": event_type,
        **msgspec.json.schema(EVENT_TYPES[event_type]),
    }
    return json.dumps(with_clean_descriptions(schema), indent=2, ensure_ascii=False).encode() + b"\n"


def with_clean_descriptions(value: Any) -> Any:
    """A schema whose descriptions are the same under every version of Python.

    They are docstrings, whose indentation Python 3.13 strips and earlier versions keep.
    """
    if isinstance(value, dict):
        return {
            key: cleandoc(item)
            if key == "description" and isinstance(item, str)
            else with_clean_descriptions(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [with_clean_descriptions(item) for item in value]
    return value

"""The worker decodes a part of an event; the part must mean what the whole means."""

from __future__ import annotations

import msgspec
import pytest

from schemas.events import ExamResult
from streams.reading import CountedFields

WHOLE = {field.name: field for field in msgspec.inspect.type_info(ExamResult).fields}  # type: ignore[attr-defined]
PART = msgspec.inspect.type_info(CountedFields).fields  # type: ignore[attr-defined]


@pytest.mark.parametrize("field", PART, ids=lambda field: field.name)
def test_counted_field_is_declared_as_in_the_event(field: msgspec.inspect.Field) -> None:
    event = WHOLE[field.name]
    assert (field.required, field.default) == (event.required, event.default)
    assert _plain(field.type) == _plain(event.type)


def _plain(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    # Descriptions are for readers of the schema, not for the decoder.
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind

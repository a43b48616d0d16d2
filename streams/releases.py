"""The release states: from their topic into Redis, where gateways read them; no worker decides anything by them.

Each change is published on ``scores:releases``, so that gateways hear of it at once; they look at the version, too.
"""

from __future__ import annotations

from typing import Final

import msgspec

from schemas.keys import (
    RELEASES,
    RELEASES_CHANGED_MS,
    RELEASES_CHANNEL,
    RELEASES_POSITION,
    RELEASES_VERSION,
)
from schemas.releases import decode_release_entry
from schemas.topics import RELEASES as RELEASES_TOPIC
from streams.accidents import Accident
from streams.reading import Record
from streams.reference import Reference


def _field_of(record: Record) -> str:
    key, _ = decode_release_entry(record.value or b"")
    if record.key != key.path.encode():
        # Compaction keeps the newest of each record key: under a wrong one, an older state would come back one day.
        raise msgspec.ValidationError(f"the record's key is not its entry's, {key.path}")
    return key.path


RELEASE_STATES: Final = Reference(
    topic=RELEASES_TOPIC,
    what="the table of release states",
    entries=RELEASES,
    version=RELEASES_VERSION,
    position=RELEASES_POSITION,
    field_of=_field_of,
    rolled_back=Accident.RELEASES_ROLLED_BACK,
    changed_ms=RELEASES_CHANGED_MS,
    channel=RELEASES_CHANNEL,
)

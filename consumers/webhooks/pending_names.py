"""The names under which changes are pending: of cells, of release states and of single results; pure.

A cell's name is its field. Others are made here, and read here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from consumers.webhooks.pending import PendingKey
from schemas.aggregate_changes import ResultChange, decode_result_change
from schemas.identifiers import OrganizationId
from schemas.releases import ReleaseKey, Report
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.messages import Told

ALL_CELLS: Final = "*"  # every cell that is later than what was told
_GONE: Final = "@"
_SINCE: Final = "!"  # every cell that changed since then, even those that were told

GONE: Final = 0  # the version of a cell that is no more; those that are there count from 1


def cells_since(since_ms: int) -> str:
    """The name that stands for every cell that changed since then, told or not."""
    return f"{_SINCE}{since_ms}"


def since_of(name: str) -> int | None:
    """The time of a name that ``cells_since`` made; None for other names."""
    return int(name[len(_SINCE) :]) if name.startswith(_SINCE) else None


def earliest_since(names: Iterable[str]) -> int | None:
    """The earliest time of all names that ``cells_since`` made; None when there are none."""
    return min((moment for name in names if (moment := since_of(name)) is not None), default=None)


def gone_cell(field: str, changed_ms: int) -> str:
    """The name of a cell that is no more since then; should it be there again when it is told of, it is told as it is."""
    return f"{field}{_GONE}{changed_ms}"


def cell_of(name: str) -> tuple[str, int | None]:
    """The cell of a name, and since when it is no more, if it is one that ``gone_cell`` made."""
    field, _, changed_ms = name.partition(_GONE)
    return field, int(changed_ms) if changed_ms else None


def release_name(key: ReleaseKey, changed_ms: int) -> str:
    """The name under which a change of a release state is pending."""
    return f"{key.path}@{changed_ms}"


def latest_releases(names: Iterable[str]) -> dict[str, int]:
    """The paths of release states, of each the time of its latest change."""
    found: dict[str, int] = {}
    for name in names:
        path, _, changed_ms = name.rpartition("@")
        found[path] = max(found.get(path, 0), int(changed_ms))
    return found


def release_key(path: str) -> ReleaseKey:
    """The release state of a path."""
    year, district, subject, report = path.split("/")
    return ReleaseKey(int(year), OrganizationId(district), subject, Report(report))


def result_of(name: str) -> ResultChange | None:
    """The change of a student's result that is pending by its own bytes; None for what is none."""
    try:
        return decode_result_change(name.encode())
    except msgspec.MsgspecError:
        return None


def name_told(key: PendingKey, field: str, told: Told) -> str:
    """The name under which what was told would be pending."""
    if key.type is EventType.RELEASE_CHANGED:
        return release_name(release_key(field), told.changed_ms)
    if key.type is EventType.AGGREGATE_UPDATED and told.version == GONE:
        return gone_cell(field, told.changed_ms)
    return field

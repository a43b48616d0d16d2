"""What one client believes after the rules of docs/wire-format.md, "What a client does", and what it should never have seen."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from schemas.aggregates import CellName
from schemas.identifiers import Grade, OrganizationId, TestCode
from tests.watching.seen import END, GAVE_UP, OPEN, Seen

Cells = dict[CellName, dict[str, Any]]

# What a client had in hand, or a network in its buffers, when Redis lost its tail may be counted a little later.
_ON_ITS_WAY_SECONDS: Final = 5.0
_ID: Final = re.compile(r"[A-Za-z0-9._~-]{0,128}")
_LONG_WAIT_MS: Final = 8_000  # what every stream may be asked to wait; anything longer is the gateway's wish


class End(NamedTuple):
    """How a stream ended."""

    at: float
    reason: str | None  # of its bye; None when it said none
    seconds: float  # how long it had been open


class _Shown(NamedTuple):
    at: float
    generation: str
    version: int


@dataclass(slots=True)
class Shared:
    """What holds for all clients of a run."""

    rollbacks: list[float] = field(default_factory=list)  # when Redis came back without its latest writes
    figures: dict[tuple[str, str, CellName, int, str], int] = field(default_factory=dict)


class Belief:
    """One client's state. Frames come from that client's thread; anybody may ask."""

    def __init__(self, name: str, organizations: Collection[OrganizationId], shared: Shared) -> None:
        self.name = name
        self.organizations = frozenset(organizations)
        self.cells: dict[str, Cells] = {}
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()  # events, by their name
        self.ends: list[End] = []
        self.nodes: set[str] = set()  # that served it
        self.puts: list[tuple[float, str]] = []  # when, and of which generation
        self.asked_to_wait_until = 0.0
        self._shared = shared
        self._lock = threading.Lock()
        self._shown: dict[tuple[str, CellName], _Shown] = {}
        self._generation = ""
        self._open = False
        self._opened = 0.0
        self._first = False  # whether the stream has still to say its first event
        self._bye: str | None = None
        self._current_to = 0.0

    def take(self, seen: Seen) -> None:
        """Apply what the client saw."""
        with self._lock:
            self.counts[seen.what] += 1
            if not _ID.fullmatch(seen.id):
                self._wrong(seen, "an id that a browser could not send back as it is")
            data: dict[str, Any] = json.loads(seen.data) if seen.data.startswith("{") else {}
            if self._first and seen.what not in (OPEN, END, GAVE_UP):
                self._first = False
                if seen.what not in ("subscribed", "bye"):
                    self._wrong(seen, f"a stream began with {seen.what}, not with what it is subscribed to")
            match seen.what:
                case "open":
                    self._open, self._first, self._bye = True, True, None
                    self._opened = seen.at
                case "end":
                    self._ended(seen)
                case "gave up":
                    self._wrong(seen, f"it was refused for good: {seen.data}")
                case "subscribed":
                    self._subscribed(seen, data)
                case "put":
                    self._put(seen, data)
                case "patch":
                    self._patch(seen, data)
                case "progress":
                    if data["live"] and not data.get("stale"):
                        self._current_to = datetime.fromisoformat(data["as_of"]).timestamp()
                case "bye":
                    self._bye = data["reason"]
                    if data["retry_ms"] > _LONG_WAIT_MS:
                        self.asked_to_wait_until = seen.at + data["retry_ms"] / 1000

    @property
    def streams(self) -> int:
        """How many were opened so far."""
        return self.counts[OPEN]

    def current_since(self, moment: float) -> bool:
        """Whether it is told that its figures hold every change up to a moment at least."""
        with self._lock:
            return self._open and self._current_to >= moment

    def state(self) -> dict[str, Cells]:
        """A copy of what it believes of the organizations it follows."""
        with self._lock:
            return {organization: dict(cells) for organization, cells in self.cells.items()}

    def _ended(self, seen: Seen) -> None:
        if self._open:
            self.ends.append(End(seen.at, self._bye, seen.at - self._opened))
        self._open = False
        # A stream that comes later starts anew; as_of of this one must not count for it.
        self._current_to = 0.0

    def _subscribed(self, seen: Seen, data: dict[str, Any]) -> None:
        self.nodes.add(data["stream"].partition(".")[0])
        if data["organizations"] != len(self.organizations):
            self._wrong(
                seen,
                f"it follows {len(self.organizations)} organizations, and is told {data['organizations']}",
            )
        for organization in data.get("dropped", ()):
            self.cells.pop(organization, None)

    def _put(self, seen: Seen, data: dict[str, Any]) -> None:
        self._generation = data["generation"]
        self.puts.append((seen.at, self._generation))
        for one in data["organizations"]:
            cells = self.cells[one["id"]] = {}
            for cell in one["cells"]:
                self._show(seen, one["id"], cell)
                if cell["results"]:
                    cells[_name(cell)] = cell
            if one["id"] not in self.organizations:
                self._wrong(seen, f"put of {one['id']}, which it does not follow")

    def _patch(self, seen: Seen, data: dict[str, Any]) -> None:
        if seen.id:  # of a patch cut into several frames only the last has one
            self._generation = seen.id.partition(".")[0]
        for one in data["organizations"]:
            cells = self.cells.get(one["id"])
            if cells is None:
                self._wrong(seen, f"patch of {one['id']}, of which there was no put")
                continue
            for cell in one["cells"]:
                name = _name(cell)
                mine = cells.get(name)
                if mine and cell["version"] <= mine["version"] and cell["changed"] <= mine["changed"]:
                    self.counts["cells that it had"] += 1
                    continue
                self._show(seen, one["id"], cell)
                if cell["results"]:
                    cells[name] = cell
                else:
                    cells.pop(name, None)

    def _show(self, seen: Seen, organization: str, cell: dict[str, Any]) -> None:
        """The client shows this cell from now on."""
        name, version = _name(cell), cell["version"]
        before = self._shown.get((organization, name))
        if before is not None and before.generation == self._generation and version < before.version:
            if not any(lost > before.at - _ON_ITS_WAY_SECONDS for lost in self._shared.rollbacks):
                self._wrong(
                    seen,
                    f"{organization} {name} went back from version {before.version} to {version} "
                    f"in generation {self._generation}",
                )
            self.counts["versions back after a rollback"] += 1
        self._shown[organization, name] = _Shown(seen.at, self._generation, version)
        figures = hash(json.dumps(cell, sort_keys=True))
        key = (self._generation, organization, name, version, cell["changed"])
        if self._shared.figures.setdefault(key, figures) != figures:
            self._wrong(seen, f"{organization} {name} version {version} has other figures than it had before")

    def _wrong(self, seen: Seen, what: str) -> None:
        self.wrong.append(f"{self.name}: {what} (at {seen.at:.3f}, id '{seen.id}')")


def _name(cell: dict[str, Any]) -> CellName:
    return CellName(cell["school_year"], TestCode(cell["test"]), Grade(cell["grade"]))

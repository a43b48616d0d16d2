"""The gateway's tables in memory, whose reads a test can hold back, and a line that writes down what it is given."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gateway.hub import Hub
from gateway.lines import NO_DESCRIPTOR, Chunk, Holder
from gateway.metrics import Metrics
from gateway.stream import Stream, StreamLimits
from gateway.subscriptions import DEFAULT_LIMITS, SubscriptionRequest
from gateway.tables import PUBLISHED_NOTICES, NoticeKeys, Notices
from gateway.tokens import Principal
from gateway.wheel import Wheel
from schemas.access.permissions import Grant, Permission, Rights, VisibilityClass
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE
from schemas.aggregates import Cell, CellField, cell_field, contribution, levels_code
from schemas.assessments import load_registry
from schemas.changes import encode_changes
from schemas.disclosure.published import PublishedCell
from schemas.events import OrganizationEntry
from schemas.identifiers import STATE, OrganizationId, ancestry
from schemas.keys import Generation
from schemas.merged_cells import MergedCell, Serving
from schemas.organization_list import OrganizationList
from schemas.releases import ReleaseKey, Releases, ReleaseState, Report

DISTRICT = OrganizationId("19990010000000")
SCHOOL = OrganizationId("19990010000101")
SECOND_SCHOOL = OrganizationId("19990010000102")
NEW_SCHOOL = OrganizationId("19990010000103")
EMPTY_DISTRICT = OrganizationId("19990020000000")
COUNTY = OrganizationId("19000000000000")

ELA = cell_field(2026, "ELA-SUM", "03")
MATH = cell_field(2026, "MATH-SUM", "03")


def school(cds: str, name: str) -> OrganizationEntry:
    """A directory entry."""
    return OrganizationEntry(cds=cds, name=name, kind="school")


class FakeTables:
    """One partition. Reads return what stood there when they began, as slow replies of Redis would."""

    def __init__(self) -> None:
        self.generation = Generation("g1")
        self.now_ms = 1_777_896_000_000
        self.cells: dict[OrganizationId, dict[CellField, MergedCell]] = {}
        self.entries: dict[str, OrganizationEntry] = {
            cds: school(cds, name)
            for cds, name in ((SCHOOL, "Cedar Elementary"), (SECOND_SCHOOL, "Dogwood Elementary"))
        }
        self.entries[EMPTY_DISTRICT] = OrganizationEntry(
            cds=EMPTY_DISTRICT, name="Elm Union", kind="district"
        )
        self.directory_version = 1
        self.reads: list[OrganizationId] = []  # organizations read as a whole
        self.whole_reads_go_on = asyncio.Event()
        self.whole_reads_go_on.set()
        self.ticks_go_on = asyncio.Event()
        self.ticks_go_on.set()
        self.incomplete = False
        self.lost = False
        self.fault: Exception | None = None
        self.published: dict[OrganizationId, dict[CellField, PublishedCell]] = {}
        self.states: Releases | None = Releases({}, version=1, unlisted=ReleaseState.RELEASED)
        self.read_states: list[Releases] = []  # that the gateway was told, the latest last
        self._log: list[bytes] = []
        self._published_log: list[bytes] = []
        self._noticed = asyncio.Event()

    def apply(
        self,
        organization: OrganizationId,
        name: CellField = ELA,
        *,
        results: int = 1,
        version: int | None = None,
    ) -> int:
        """Change a cell, and give notice of it; returns its version."""
        self.now_ms += 10
        known = self.cells.setdefault(organization, {}).get(name)
        cell = Cell()
        for _ in range(results):
            cell.apply(contribution(2450, levels_code([3])))
        cell.version = (known.cell.version if known else 0) + 1 if version is None else version
        self.cells[organization][name] = MergedCell(self.now_ms, cell)
        self.notice(organization, name)
        return cell.version

    def score(self, school: OrganizationId, name: CellField = ELA, *, results: int = 1) -> None:
        """Some more unscored results of a school: in its cell and in those of all above, as a worker does."""
        self.now_ms += 10
        chain = ancestry(school)
        for organization in chain:
            known = self.cells.setdefault(organization, {}).get(name)
            cell = Cell()
            if known is not None:
                cell.merge(known.cell)
            cell.merge(unscored(results))
            cell.version += 1
            self.cells[organization][name] = MergedCell(self.now_ms, cell)
        self._log.append(encode_changes({organization: [name] for organization in chain}))
        self.wake()

    def release(self, *keys: tuple[int, OrganizationId, str], state: ReleaseState) -> None:
        """Give districts' aggregates a release state; nobody is told."""
        assert self.states is not None
        self.now_ms += 10
        states = dict(self.states)
        states |= {
            ReleaseKey(year, district, subject, Report.AGGREGATE): state for year, district, subject in keys
        }
        self.set_states(states, self.states.unlisted)

    def set_states(self, states: dict[ReleaseKey, ReleaseState], unlisted: ReleaseState) -> None:
        """All release states."""
        version = self.states.version + 1 if self.states is not None else 1
        self.states = Releases(states, version=version, changed_ms=self.now_ms, unlisted=unlisted)

    def publish(self, organization: OrganizationId, name: CellField, cell: Cell | None) -> None:
        """Publish a cell, or that it is suppressed."""
        self.now_ms += 10
        held = self.published.setdefault(organization, {})
        version = held[name].version + 1 if name in held else 1
        held[name] = PublishedCell(version, self.now_ms, cell)
        self._notice_published(organization, name)

    def take_back(self, organization: OrganizationId, name: CellField) -> None:
        """Publish a cell no longer."""
        self.now_ms += 10
        del self.published[organization][name]
        self._notice_published(organization, name)

    def notice(self, organization: OrganizationId, *names: CellField) -> None:
        """Say that cells changed."""
        self._log.append(encode_changes({organization: names}))
        self.wake()

    def wake(self) -> None:
        """Let the readers of notices look again."""
        self._noticed.set()

    async def releases(self, known: Releases | None) -> Releases | None:
        """The release states."""
        if self.states is None or (known is not None and self.states.version <= known.version):
            return known
        self.read_states.append(self.states)
        return self.states

    async def serving(self) -> Serving | None:
        """What is served."""
        return Serving(self.generation, 1)

    async def organizations(self, known: OrganizationList | None) -> OrganizationList:
        """The directory."""
        if known is not None and known.version == self.directory_version:
            return known
        return OrganizationList(self.entries.values(), self.directory_version)

    async def read_organizations(
        self, serving: Serving, organizations: Sequence[OrganizationId]
    ) -> list[dict[CellField, MergedCell]]:
        """Every cell of some organizations."""
        self.reads += organizations
        found = [dict(self.cells.get(organization, {})) for organization in organizations]
        await self.whole_reads_go_on.wait()
        self._fail()
        return found

    async def read_cells(
        self, serving: Serving, names: Sequence[tuple[OrganizationId, Sequence[CellField]]]
    ) -> list[dict[CellField, MergedCell]]:
        """The named cells."""
        found = [
            {name: held[name] for name in fields if name in held}
            for organization, fields in names
            for held in (self.cells.get(organization, {}),)
        ]
        await self.ticks_go_on.wait()
        self._fail()
        return found

    async def read_published(
        self, organizations: Sequence[OrganizationId]
    ) -> list[dict[CellField, PublishedCell]]:
        """Every published cell of some organizations."""
        found = [dict(self.published.get(organization, {})) for organization in organizations]
        await self.whole_reads_go_on.wait()
        self._fail()
        return found

    async def read_published_cells(
        self, names: Sequence[tuple[OrganizationId, Sequence[CellField]]]
    ) -> list[dict[CellField, PublishedCell]]:
        """The named published cells."""
        found = [
            {name: held[name] for name in fields if name in held}
            for organization, fields in names
            for held in (self.published.get(organization, {}),)
        ]
        await self.ticks_go_on.wait()
        self._fail()
        return found

    def together(self, partitions: Sequence[int]) -> list[list[int]]:
        """All."""
        return [list(partitions)]

    async def read_notices(self, followed: Sequence[tuple[NoticeKeys, bytes | None]]) -> list[Notices]:
        """What was noticed since."""
        return [self._notices(keys, last) for keys, last in followed]

    def _notices(self, keys: NoticeKeys, last: bytes | None) -> Notices:
        self.now_ms += 1
        self._fail()
        exact = keys is not PUBLISHED_NOTICES
        log = self._log if exact else self._published_log
        start = len(log) if last is None else int(last)
        gap = exact and self.lost
        if exact:
            self.lost = False
        return Notices(
            read_ms=self.now_ms,
            complete_ms=self.now_ms if exact else None,
            gap=gap,
            last=b"%d" % len(log),
            packed=log[start:],
            more=False,
            incomplete=self.incomplete if exact else True,  # as for a partition that nobody has claimed
        )

    async def next_notices(
        self, followed: Sequence[tuple[NoticeKeys, bytes]], seconds: float
    ) -> list[Notices]:
        """What was noticed since, when there is something."""
        await self._noticed.wait()
        self._noticed.clear()
        return await self.read_notices(followed)

    def _notice_published(self, organization: OrganizationId, name: CellField) -> None:
        self._published_log.append(encode_changes({organization: [name]}))
        self.wake()

    def _fail(self) -> None:
        if self.fault is not None:
            raise self.fault


def unscored(results: int) -> Cell:
    """So many results without scores, made quickly."""
    cell = Cell()
    cell.totals = results
    return cell


class FakeLine:
    """Writes down what it is given, and takes no more when it is told to be full."""

    descriptor = NO_DESCRIPTOR

    def __init__(self, holder: Holder) -> None:
        self.writes: list[bytes] = []
        self.ended = False
        self.was_reset = False
        self.full = False
        self._holder = holder

    def write_on(self, chunk: Chunk, sent: int) -> None:
        """Never called."""
        raise AssertionError

    def write(self, chunk: Chunk) -> None:
        """Take it."""
        assert not self.ended and not self.was_reset
        self.writes.append(chunk.raw)
        if self.full:
            self._holder.paused()

    def unsent(self) -> bool:
        """Whether the client has not read all."""
        return self.full

    def end(self) -> None:
        """The end of the answer."""
        self.ended = True

    def reset(self) -> None:
        """The end of the connection."""
        self.was_reset = True
        self._holder.gone()

    def drain(self) -> None:
        """The client has read everything."""
        self.full = False
        self._holder.resumed()

    def events(self, *kinds: str) -> list[tuple[str, Any, str | None]]:
        """Name, data and id of the events so far; of some kinds."""
        found = []
        for block in b"".join(self.writes).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            if "event" in fields and (not kinds or fields["event"] in kinds):
                found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
        return found

    def told(self) -> list[tuple[str, str, str, int]]:
        """Of every cell that was sent: by which event, organization, test, version."""
        return [
            (kind, one["id"], cell["test"], cell["version"])
            for kind, data, _ in self.events("put", "patch")
            for one in data["organizations"]
            for cell in one["cells"]
        ]


def principal(*organizations: OrganizationId, seconds: float = 3_600) -> Principal:
    """Somebody who may see these, by default the district."""
    grants = tuple(Grant(READER_ROLE, organization) for organization in organizations or (DISTRICT,))
    expires = datetime.now(UTC) + timedelta(seconds=seconds)
    return Principal("somebody", grants, expires, "token", BUILT_IN_ROLES.rights(grants))


_PERMISSIONS = {
    VisibilityClass.EXACT_LOADING: {Permission.INDIVIDUAL_PII_READ, Permission.TEST_DATA_LOADING_READ},
    VisibilityClass.EXACT_REVIEWING: {Permission.INDIVIDUAL_PII_READ, Permission.TEST_DATA_REVIEWING_READ},
    VisibilityClass.EXACT_RELEASED: {Permission.INDIVIDUAL_PII_READ},
    VisibilityClass.MASKED: set(),
}


def viewer(visibility: VisibilityClass, organization: OrganizationId = STATE) -> Principal:
    """Somebody who sees an organization, and all below it, as this class does."""
    held = {Permission.CUSTOM_AGGREGATE_READ, *_PERMISSIONS[visibility]}
    rights = Rights({permission: frozenset({organization}) for permission in held})
    assert rights.visibility(organization) is visibility
    return replace(principal(organization), rights=rights)


@dataclass
class World:
    """A running hub over fake tables, with a clock that a test moves."""

    tables: FakeTables
    hub: Hub
    metrics: Metrics
    limits: StreamLimits = field(default_factory=StreamLimits)
    seconds: float = 0.0
    left: list[Stream] = field(default_factory=list)

    def stream(self, *topics: str, who: Principal | None = None, **more: Any) -> tuple[Stream, FakeLine]:
        """An open stream, and its line; ``more`` is what Stream takes, and tests, grades, years."""
        stream = self.new_stream(*topics, who=who, **more)
        line = FakeLine(stream)
        stream.start(line)
        return stream, line

    def new_stream(self, *topics: str, who: Principal | None = None, **more: Any) -> Stream:
        """A stream that has not begun."""
        narrowed = {name: more.pop(name) for name in ("tests", "grades", "years") if name in more}
        return Stream(
            hub=self.hub,
            subscription=SubscriptionRequest(topics, **narrowed).subscription(DEFAULT_LIMITS),
            principal=who or principal(),
            limits=self.limits,
            metrics=self.metrics,
            stream_id="node.stream",
            left=self.left.append,
            **more,
        )

    async def know_releases(self) -> None:
        """Let the hub read the release states as they are, and everything settle."""
        self.hub.look()
        await until(lambda: self.hub.releases is self.tables.states)
        await settled()

    async def turn(self, seconds: float) -> None:
        """Let time pass for the streams."""
        self.seconds += seconds
        await self.hub.wheel.turn()

    def counted(self, name: str, **labels: str) -> float:
        """A metric as it stands."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def world(*, progress_seconds: float = 60.0) -> AsyncIterator[World]:
    """A hub that follows fake tables; progress is told in that time, so by default hardly ever by itself."""
    tables, metrics = FakeTables(), Metrics()
    hub = Hub(
        tables,  # type: ignore[arg-type]  # a fake of what reads Redis
        load_registry().at,
        metrics,
        tick_seconds=0,
        progress_seconds=progress_seconds,
    )
    made = World(tables, hub, metrics)
    hub.wheel = Wheel(lambda: made.seconds)
    running = asyncio.create_task(hub.run())
    try:
        await until(lambda: hub.cursor is not None)
        await settled()
        yield made
    finally:
        if running.done():
            running.result()  # a hub that has stopped explains whatever went wrong
        running.cancel()
        await asyncio.wait({running})


async def until(condition: Any, seconds: float = 60.0) -> Any:
    """What the condition returns as soon as it is true; lets everything else run meanwhile."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if found:
                return found
            await asyncio.sleep(0)


async def settled() -> None:
    """Let everything run that can run now."""
    for _ in range(50):
        await asyncio.sleep(0)

"""A model of who may see what: it looks at every cell of every frame of every connection, when it is sent and when it arrives.

Each district's results are counted in two decimal digits of their own: ours by ones, the next by hundreds, and so on. So
the number that a county comes to says of which districts it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from fake_tables import FakeLine, World, school, settled, until, viewer, world

from gateway import sse
from gateway.images import View
from gateway.lines import Chunk
from gateway.stream import Stream
from schemas.access.permissions import VisibilityClass
from schemas.aggregates import Cell, CellField, cell_field, contribution, levels_code
from schemas.identifiers import STATE, OrganizationId, district_of
from schemas.releases import Releases, ReleaseState

COUNTIES: Final = [OrganizationId("19000000000000"), OrganizationId("20000000000000")]
# The last two join later: one in a county with others, and one alone.
DISTRICTS: Final = [
    OrganizationId(f"{code}0000000") for code in ("1999001", "1999002", "2099001", "1999003", "2099002")
]
AT_FIRST: Final = 3
SCHOOLS: Final = {district: OrganizationId(f"{district[:7]}0000101") for district in DISTRICTS}
WEIGHT: Final = {district: 100**number for number, district in enumerate(DISTRICTS)}
ORGANIZATIONS: Final = [*SCHOOLS.values(), *DISTRICTS, *COUNTIES, STATE]
SUBJECTS: Final[dict[CellField, str | None]] = {
    cell_field(2026, "ELA-SUM", "03"): "ELA",
    cell_field(2026, "MATH-SUM", "03"): "Math",
    cell_field(2026, "ELA-ICA", "03"): None,  # an interim
}
FIELDS: Final = list(SUBJECTS)
CLASSES: Final = list(VisibilityClass)
MOST: Final = 99

Step = tuple[str, int, int, int]
STEPS: Final = (
    *("results",) * 4,
    *("release",) * 4,
    "unnoticed release",
    "published",
    "connect",
    "connect",
    "reconnect",
    "fill up",
    "drain",
    "settle",
    "hold ticks",
    "hold reads",
    "other rights",
    "much later",
    "all lost",
    "join",
    "plain request",
)


class Leak(AssertionError):
    """Somebody was sent what they may not see."""


@dataclass(eq=False)
class Connection(FakeLine):
    """A client's connection: what it is sent is looked at when it is written, and again when the client takes it."""

    model: Model
    topics: tuple[str, ...]
    one: VisibilityClass
    beliefs: dict[OrganizationId, dict[CellField, dict[str, Any]]] = field(default_factory=dict)
    stream: Stream | None = None
    last: sse.Cursor | None = None
    untaken: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert self.stream is None
        self.writes, self.ended, self.was_reset, self.full = [], False, False, False

    def hold(self, stream: Stream) -> None:
        """Be the line of this stream."""
        self.stream = stream
        self._holder = stream
        stream.start(self)

    def write(self, chunk: Chunk) -> None:
        self.model.inspect(chunk.raw, self.one)
        if self.full:
            self.untaken.append(chunk.raw)
        else:
            self._take(chunk.raw)
        super().write(chunk)

    def drain(self) -> None:
        untaken, self.untaken = self.untaken, []
        for raw in untaken:
            self.model.inspect(raw, self.one)
            self._take(raw)
        super().drain()

    def _take(self, raw: bytes) -> None:
        """What a client does with it, by the rules of the wire."""
        for kind, data, event_id in events(raw):
            for one in data["organizations"]:
                organization = OrganizationId(one["id"])
                cells = {name_of(cell): cell for cell in one["cells"]}
                if kind == "put":
                    self.beliefs[organization] = cells
                    continue
                known = self.beliefs.setdefault(organization, {})
                for name, cell in cells.items():
                    before = known.get(name)
                    if before is None or (
                        cell["version"] > before["version"] or cell["changed"] > before["changed"]
                    ):
                        known[name] = cell
            if event_id is not None:
                self.last = sse.parse_cursor(event_id)

    def shown(self) -> dict[tuple[OrganizationId, CellField], int | None]:
        """What is on the client's screen."""
        return {
            (organization, name): cell["results"]
            for organization, cells in self.beliefs.items()
            for name, cell in cells.items()
            if cell["results"] != 0
        }


class Model:
    """Takes steps in a world, and knows what everybody may see of it."""

    def __init__(self, here: World) -> None:
        self.here = here
        self.connections: list[Connection] = []
        self.joined = list(DISTRICTS[:AT_FIRST])
        self.faults: list[AssertionError] = []
        self.was: dict[tuple[OrganizationId, CellField], set[int]] = {}
        self.was_published: dict[tuple[OrganizationId, CellField], set[int | None]] = {}

    # The rules, said once more.

    @property
    def known(self) -> Releases:
        """The states that the gateway was told last."""
        return self.here.tables.read_states[-1]

    def sees(self, one: VisibilityClass, district: OrganizationId, name: CellField) -> bool:
        """Whether a class sees a district's row."""
        subject = SUBJECTS[name]
        return subject is None or self.known.state(2026, district, subject) >= one.lowest

    def expected(self, one: VisibilityClass, organization: OrganizationId) -> dict[CellField, int | None]:
        """What somebody of a class ought to have on the screen, of one organization."""
        tables = self.here.tables
        found: dict[CellField, int | None] = {}
        for name in FIELDS:
            seen = [district for district in self._below(organization) if self.sees(one, district, name)]
            if one is VisibilityClass.MASKED:
                held = tables.published.get(organization, {}).get(name)
                if seen and held is not None:
                    found[name] = None if held.cell is None else held.cell.with_scores
                continue
            counted = [organization] if organization in SCHOOLS.values() and seen else seen
            cells = [tables.cells.get(each, {}).get(name) for each in counted]
            if results := sum(cell.cell.results for cell in cells if cell is not None):
                found[name] = results
        return found

    def inspect(self, raw: bytes, one: VisibilityClass) -> None:
        """Note what of this somebody of a class may not be sent now. Whoever sends it would swallow what is raised."""
        for _, data, _ in events(raw):
            for organization in data["organizations"]:
                for cell in organization["cells"]:
                    try:
                        self.inspect_cell(one, OrganizationId(organization["id"]), cell)
                    except AssertionError as error:
                        self.faults.append(error)

    def inspect_cell(self, one: VisibilityClass, organization: OrganizationId, cell: dict[str, Any]) -> None:
        """The same of one cell."""
        name, results = name_of(cell), cell["results"]
        below = self._below(organization)
        seen = [district for district in below if self.sees(one, district, name)]
        if not seen:
            raise Leak(f"{one} is sent {organization} {name}, of which nothing may be seen")
        if one is VisibilityClass.MASKED:
            if results not in self.was_published.get((organization, name), set()):
                raise Leak(f"masked is sent {results} of {organization} {name}, which was never published")
            return
        for district in DISTRICTS:
            digits = results // WEIGHT[district] % 100
            if digits and district not in seen:
                raise Leak(f"{one} is sent {digits} results of {district} {name} in {organization}")
            if digits and digits not in self.was[district, name]:
                raise AssertionError(f"{district} {name} never had {digits} results")

    def _below(self, organization: OrganizationId) -> list[OrganizationId]:
        if organization == STATE:
            return self.joined
        if organization in COUNTIES:
            return [district for district in self.joined if district[:2] == organization[:2]]
        return [district_of(organization)]

    # Steps.

    async def take(self, step: Step) -> None:
        """One step; the numbers say what of, and how much."""
        what, *numbers = step
        await getattr(self, f"_{what.replace(' ', '_')}")(*numbers)
        for _ in range(numbers[2] % 4):
            await asyncio.sleep(0)
        self._raise_faults()

    async def finish(self, patience_seconds: float) -> None:
        """Let everything arrive: then everybody has exactly what they may see, and all of it."""
        tables = self.here.tables
        tables.ticks_go_on.set()
        tables.whole_reads_go_on.set()
        await self.here.know_releases()
        for connection in self.connections:
            if not connection.was_reset:
                connection.drain()
        tables.wake()
        with contextlib.suppress(TimeoutError):
            await until(lambda: not self._differences(), patience_seconds)
        await settled()
        self._raise_faults()
        if differences := self._differences():
            raise AssertionError("\n".join(differences))

    def _differences(self) -> list[str]:
        found = []
        for connection in self.connections:
            if not connection.was_reset:
                shown = connection.shown()
                wanted = {
                    (topic, name): results
                    for topic in map(organization_of, connection.topics)
                    for name, results in self.expected(connection.one, topic).items()
                }
                if shown != wanted:
                    found.append(f"{connection.one} has {shown} and ought to have {wanted}")
        return found

    async def _results(self, which: int, of: int, many: int) -> None:
        district, name = self.joined[which % len(self.joined)], FIELDS[of % len(FIELDS)]
        had = self.here.tables.cells.get(district, {}).get(name)
        count = had.cell.results // WEIGHT[district] if had is not None else 0
        change = many % 9 - 3
        if 0 <= count + change <= MOST:
            self.was.setdefault((district, name), set()).add(count + change)
            self.here.tables.score(SCHOOLS[district], name, results=change * WEIGHT[district])

    async def _unnoticed_release(self, which: int, of: int, state: int) -> None:
        self.here.tables.release(
            (2026, DISTRICTS[which % len(DISTRICTS)], ("ELA", "Math")[of % 2]),
            state=ReleaseState(state % 3),
        )

    async def _release(self, which: int, of: int, state: int) -> None:
        await self._unnoticed_release(which, of, state)
        self.here.hub.look()

    async def _published(self, which: int, of: int, many: int) -> None:
        organization, name = ORGANIZATIONS[which % len(ORGANIZATIONS)], FIELDS[of % len(FIELDS)]
        tables = self.here.tables
        if not many % 4 and name in tables.published.get(organization, {}):
            tables.take_back(organization, name)
            return
        count = None if many % 4 == 1 else 11 + many % 80
        self.was_published.setdefault((organization, name), set()).add(count)
        tables.publish(organization, name, None if count is None else published(count))

    async def _connect(self, which: int, of: int, _: int) -> None:
        topics = {
            topic_of(ORGANIZATIONS[(which + step * of) % len(ORGANIZATIONS)]) for step in range(1 + of % 3)
        }
        known = self.here.hub.organizations
        open_topics = tuple(sorted(topic for topic in topics if known and organization_of(topic) in known))
        if open_topics and len(self.connections) < 8:
            self._open(Connection(self, open_topics, CLASSES[(which + of) % len(CLASSES)]))

    async def _reconnect(self, which: int, *_: int) -> None:
        if self.connections:
            before = self.connections.pop(which % len(self.connections))
            if not before.was_reset and before.stream is not None:
                before.stream.gone()
            self._open(Connection(self, before.topics, before.one, before.beliefs), before.last)

    def _open(self, connection: Connection, last: sse.Cursor | None = None) -> None:
        if last is None:
            connection.beliefs.clear()
        connection.last = last
        self.connections.append(connection)
        connection.hold(self.here.new_stream(*connection.topics, who=viewer(connection.one), cursor=last))

    async def _fill_up(self, which: int, *_: int) -> None:
        for connection in self._some(which):
            connection.full = True

    async def _drain(self, which: int, *_: int) -> None:
        for connection in self._some(which):
            connection.drain()

    async def _settle(self, *_: int) -> None:
        await settled()

    async def _hold_ticks(self, hold: int, *_: int) -> None:
        _set(self.here.tables.ticks_go_on, hold % 2 == 0)

    async def _hold_reads(self, hold: int, *_: int) -> None:
        _set(self.here.tables.whole_reads_go_on, hold % 2 == 0)

    async def _other_rights(self, which: int, one: int, how: int) -> None:
        for connection in self._some(which):
            assert connection.stream is not None
            connection.one = CLASSES[one % len(CLASSES)]
            if how % 2:
                connection.stream.renew(viewer(connection.one))
            else:
                connection.stream.reassess(viewer(connection.one))

    async def _much_later(self, which: int, *_: int) -> None:
        # Time passes for those only who know the release states: a gateway that cannot read them sends nothing.
        await self.here.know_releases()
        self.here.tables.now_ms += (500, 3_000, 30_000)[which % 3]
        self.here.tables.wake()
        await settled()

    async def _all_lost(self, *_: int) -> None:
        self.here.tables.lost = True
        self.here.tables.wake()

    async def _join(self, *_: int) -> None:
        if len(self.joined) < len(DISTRICTS):
            district = DISTRICTS[len(self.joined)]
            self.joined.append(district)
            enlist(self.here, district)

    async def _plain_request(self, which: int, one: int, _: int) -> None:
        tables = self.here.tables
        if tables.ticks_go_on.is_set() and tables.whole_reads_go_on.is_set():
            asked = View(ORGANIZATIONS[which % len(ORGANIZATIONS)], CLASSES[one % len(CLASSES)])
            [snapshot] = await self.here.hub.snapshots([asked])
            for image in snapshot.shown():
                self.inspect_cell(asked.visibility, asked.organization, json.loads(image.encoded))

    def _raise_faults(self) -> None:
        if self.faults:
            raise self.faults[0]

    def _some(self, which: int) -> list[Connection]:
        live = [connection for connection in self.connections if not connection.was_reset]
        return [live[which % len(live)]] if live else []


async def follow(course: Iterable[Step], *, patience_seconds: float = 60.0) -> None:
    """Take a course of steps in a new world, and see that everybody ends with what they may see.

    Raises:
        Leak: somebody was sent something else on the way.
    """
    async with world() as here:
        for district in DISTRICTS[:AT_FIRST]:
            enlist(here, district)
        here.tables.set_states({}, ReleaseState.LOADING)
        await here.know_releases()
        await until(lambda: (known := here.hub.organizations) is not None and DISTRICTS[2] in known)
        model = Model(here)
        for step in course:
            await model.take(step)
        await model.finish(patience_seconds)


def enlist(here: World, district: OrganizationId) -> None:
    """Put a district with its school into the directory."""
    code = SCHOOLS[district]
    here.tables.entries[code] = school(code, f"School {code}")
    here.tables.directory_version += 1


def published(students: int) -> Cell:
    """A cell of so many students on two levels."""
    cell = Cell()
    for level, many in ((1, students // 2), (2, students - students // 2)):
        cell.apply_all([contribution(2450, levels_code([level]))] * many)
    return cell


def events(raw: bytes) -> list[tuple[str, Any, str | None]]:
    """The puts and patches in some frames."""
    found = []
    for block in raw.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        if fields.get("event") in ("put", "patch"):
            found.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
    return found


def name_of(cell: dict[str, Any]) -> CellField:
    """A cell's name."""
    return cell_field(cell["school_year"], cell["test"], cell["grade"])


def topic_of(organization: OrganizationId) -> str:
    """The topic that names an organization."""
    if organization == STATE:
        return f"state/{STATE}"
    if organization in COUNTIES:
        return f"county/{organization}"
    return f"district/{organization}" if organization in DISTRICTS else f"school/{organization}"


def organization_of(topic: str) -> OrganizationId:
    """The organization that a topic names."""
    return OrganizationId(topic[-14:])


def _set(event: asyncio.Event, is_set: bool) -> None:
    if is_set:
        event.set()
    else:
        event.clear()

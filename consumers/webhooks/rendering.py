"""From what is pending to messages: what may be told of it now, and was not told yet, as exact bytes; pure but for reading.

Permission and release state are judged here, each time. What may not be seen leaves no trace: no message, and nothing that
waits for better days; a release makes everything of its district pending anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from consumers.webhooks.cells import CellReader, Seen, View
from consumers.webhooks.matching import is_news, wants
from consumers.webhooks.pending import PendingKey
from consumers.webhooks.pending_names import (
    ALL_CELLS,
    GONE,
    cell_of,
    earliest_since,
    latest_releases,
    release_key,
    result_of,
    since_of,
)
from consumers.webhooks.permitted import knows_releases, may_know_result
from consumers.webhooks.rules import Rules
from schemas.aggregates import CellField, cell_field, cell_name
from schemas.assessments import Registry
from schemas.figures import Figures
from schemas.webhooks.endpoints import Endpoint, EventType
from schemas.webhooks.ids import message_id
from schemas.webhooks.messages import Message, Told
from schemas.webhooks.payloads import (
    Body,
    ToldCell,
    aggregate_updated,
    organization_part,
    release_changed,
    results_changed,
)


class Job(NamedTuple):
    """What is to be told to one endpoint of one organization.

    Attributes:
        again: cells that are told whether they were told before or not.
    """

    endpoint: Endpoint
    key: PendingKey
    names: frozenset[str]
    again: frozenset[str] = frozenset()

    @property
    def told_field(self) -> str:
        """What the fields of the table of what was told begin with."""
        return f"{self.key.organization}/"


class Rendering:
    """Makes messages of jobs; the rules must have been refreshed."""

    def __init__(self, rules: Rules, cells: CellReader, registry: Registry, *, public_url: str) -> None:
        self._rules = rules
        self._cells = cells
        self._registry = registry
        self._public_url = public_url

    def views(self, jobs: Iterable[Job]) -> dict[View, frozenset[CellField] | None]:
        """What must be read before the jobs can be done."""
        wanted: dict[View, frozenset[CellField] | None] = {}
        for job in jobs:
            view = self._view(job)
            if view is None:
                continue
            names = job.names | job.again
            whole = any(name == ALL_CELLS or since_of(name) is not None for name in names)
            known = wanted.get(view, frozenset())
            if whole or known is None:
                wanted[view] = None
            else:
                wanted[view] = known | {CellField(cell_of(name)[0]) for name in names}
        return wanted

    async def read(self, jobs: Sequence[Job]) -> dict[View, dict[CellField, Seen]]:
        """The cells that the jobs are about, as their owners see them now."""
        wanted = self.views(jobs)
        return await self._cells.read(wanted) if wanted else {}

    def candidates(self, job: Job, seen: Mapping[View, Mapping[CellField, Seen]]) -> list[str]:
        """The fields of what was told that decide about a job."""
        if job.key.type is EventType.RELEASE_CHANGED:
            return [job.told_field + path for path in latest_releases(job.names)]
        return [job.told_field + field for field in self._visible(job, seen)]

    def messages(
        self,
        job: Job,
        seen: Mapping[View, Mapping[CellField, Seen]],
        told: Mapping[str, Told],
        now_ms: int,
    ) -> list[Message]:
        """The messages that tell what there is to tell, none when there is nothing."""
        match job.key.type:
            case EventType.AGGREGATE_UPDATED:
                return self._of_cells(job, self._visible(job, seen), told, now_ms)
            case EventType.RELEASE_CHANGED:
                return self._of_releases(job, told, now_ms)
            case _:
                return self._of_results(job, now_ms)

    def _view(self, job: Job) -> View | None:
        if job.key.type is not EventType.AGGREGATE_UPDATED:
            return None
        kind = self._rules.rights(job.endpoint).visibility(job.key.organization)
        return None if kind is None else (job.key.organization, kind)

    def _visible(self, job: Job, seen: Mapping[View, Mapping[CellField, Seen]]) -> dict[CellField, Seen]:
        view = self._view(job)
        if view is None:
            return {}
        since = earliest_since(job.names)
        whole = ALL_CELLS in job.names
        named = dict(map(cell_of, sorted(job.names | job.again)))
        shown = seen.get(view, {})
        found = {
            field: cell
            for field, cell in shown.items()
            if wants(job.endpoint, field)
            and (whole or field in named or (since is not None and cell.changed_ms >= since))
        }
        organization, kind = view
        for name, gone_ms in named.items():
            field = CellField(name)
            if gone_ms is None or field in shown or not wants(job.endpoint, field):
                continue
            if self._rules.visibility.sees(kind, organization, field):
                found[field] = Seen(GONE, gone_ms, None, masked=True)
        return found

    def _of_cells(
        self, job: Job, visible: Mapping[CellField, Seen], told: Mapping[str, Told], now_ms: int
    ) -> list[Message]:
        endpoint = job.endpoint
        since = earliest_since(job.names)
        again = {cell_of(name)[0] for name in job.again}
        tells: dict[CellField, Told] = {}
        for field, cell in visible.items():
            now = Told(cell.version, cell.changed_ms, self._cells.share(field, cell), cell.summed)
            known = told.get(job.told_field + field)
            if cell.version == GONE and known is None and field not in again:
                continue  # nobody was told that it was there
            forced = field in again or (since is not None and cell.changed_ms >= since)
            if forced or is_news(now, known, endpoint.points):
                tells[field] = now
        if not tells:
            return []
        full = endpoint.payload == "full"
        cells = [
            ToldCell(
                cell_name(field),
                now.version,
                now.changed_ms,
                self._figures(field, visible[field]) if full else None,
            )
            for field, now in tells.items()
        ]
        summary = self._rules.organizations.summary(job.key.organization)
        bodies = aggregate_updated(
            organization_part(job.key.organization, summary.name),
            cells,
            base_url=self._public_url,
            full=full,
        )
        return [
            self._message(
                job,
                body,
                now_ms,
                {
                    job.told_field + field: tells[field]
                    for field in (cell_field(*name) for name in body.cells)
                },
            )
            for body in bodies
        ]

    def _of_releases(self, job: Job, told: Mapping[str, Told], now_ms: int) -> list[Message]:
        if not knows_releases(self._rules.rights(job.endpoint), job.key.organization):
            return []
        messages = []
        again = latest_releases(job.again)
        for path, changed_ms in sorted(latest_releases(job.names | job.again).items()):
            key = release_key(path)
            state = self._rules.releases.state(*key)
            known = told.get(job.told_field + path)
            if path in again or known is None or known.version != state:
                body = release_changed(key, state, changed_ms=changed_ms, base_url=self._public_url)
                tells = {job.told_field + path: Told(int(state), changed_ms)}
                messages.append(self._message(job, body, now_ms, tells))
        return messages

    def _of_results(self, job: Job, now_ms: int) -> list[Message]:
        shown = {
            name: result
            for name in sorted(job.names | job.again)
            if (result := result_of(name)) is not None
            and may_know_result(self._rules, self._registry, job.endpoint, result)
        }
        if not shown:
            return []
        summary = self._rules.organizations.summary(job.key.organization)
        part = organization_part(job.key.organization, summary.name)
        bodies = results_changed(job.key.type, part, list(shown.values()), base_url=self._public_url)
        # Of several bodies each stands for all: which exam is in which one does not matter to who may see them.
        tells = {job.told_field + name: Told(0) for name in shown}
        return [self._message(job, body, now_ms, tells) for body in bodies]

    def _figures(self, field: CellField, seen: Seen) -> Figures | None:
        return None if seen.version == GONE else self._cells.figures(field, seen)

    def _message(self, job: Job, body: Body, now_ms: int, tells: dict[str, Told]) -> Message:
        return Message(
            id=message_id(job.endpoint.id, body.content),
            endpoint=job.endpoint.id,
            type=job.key.type,
            created_ms=now_ms,
            body=body.content,
            organization=job.key.organization,
            version=body.version,
            tells=tells,
            next_ms=now_ms,
        )

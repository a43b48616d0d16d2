"""The publisher's work: rounds by the clock, each of which publishes what may be published of the families that changed.

How nothing is published that should not be:

1. A round begins by catching up with tables that are whole. While they are away, or still being built from the log, there
   is none: a half-filled table would look like students who left.
2. Of each family that changed, the schools' totals go to ``Family.publish``, which alone decides what is shown, what is
   hidden and what has to wait.
3. What it decided is written with the family's new state in one step (``PublishedStore.publish``), and sent again until
   that is known to be done: the state in memory is never ahead of what is published by more than that one write.
4. When Redis comes back without the last writes, everything is published anew as it was: what was seen stays the state from
   which the next differences are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from gateway.publisher.metrics import Metrics
from gateway.publisher.publication import Publication, Schools, publication, published_anew
from gateway.publisher.schools import SchoolReader
from gateway.publisher.tables import Claim, PublishedStore
from gateway.publisher.totals import SchoolTotals
from gateway.redis_connection import REDIS_AWAY
from gateway.tables import Tables
from schemas.access.permissions import VisibilityClass
from schemas.access.visibility import Visibility
from schemas.aggregates import CellField, cell_name
from schemas.assessments import AssessmentLookup
from schemas.disclosure.family import Family, unpack_family
from schemas.errors import Fenced, TablesLost
from schemas.identifiers import STATE
from schemas.process.waiting import wait_at_most
from schemas.releases import Releases

logger = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 0.5
# A monitor takes ten seconds of silence for the end (consumers.lag.settings); Redis may lose some of these in an outage.
_SIGN_SECONDS: Final = 1.0
# Schools that have been at rest for long are treated otherwise (schemas.disclosure.family); nothing else tells that it is so.
_ALL_MS: Final = 3_600_000


class Publisher:
    """One publisher process; there is to be one in a deployment."""

    def __init__(
        self,
        tables: Tables,
        published: PublishedStore,
        assessments: AssessmentLookup,
        metrics: Metrics,
        *,
        publish_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._published = published
        self._assessments = assessments
        self._metrics = metrics
        self._publish_seconds = publish_seconds
        self._clock = clock
        self._totals = SchoolTotals()
        self._due = asyncio.Event()
        self._reader = SchoolReader(tables, self._totals, due=self._due.set, released=self._released)
        self._families: dict[CellField, Family] = {}
        self._written: dict[CellField, bytes] = {}  # digest of the state that is stored
        self._claim: Claim | None = None
        self._begun = False  # what was published before is known
        self._all_due_ms = 0
        self._behind = False  # Redis has lost something of what was published

    def look(self) -> None:
        """Release states may have changed: find out now."""
        self._reader.following.look()

    async def run(self) -> None:
        """Publish until cancelled.

        Raises:
            Fenced: another publisher has taken over; nothing of ours was written since.
        """
        following = asyncio.create_task(self._reader.following.run(), name="following the tables")
        rounds = asyncio.create_task(self._rounds(), name="the rounds")
        signs = asyncio.create_task(self._give_signs_of_life(), name="signs of life")
        tasks = (rounds, following, signs)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _give_signs_of_life(self) -> None:
        """Between rounds, which may be a day apart, and in one that takes long."""
        while True:
            if self._claim is not None:
                # What is the matter then is for the round to say: a write of ours may be on its way.
                with contextlib.suppress(Fenced, TablesLost, *REDIS_AWAY):
                    await self._published.check(self._claim)
            await asyncio.sleep(_SIGN_SECONDS)

    async def _rounds(self) -> None:
        while True:
            try:
                done = await self.round()
            except REDIS_AWAY as error:
                logger.info("redis does not answer, the round waits error=%r", error)
                done = False
            self._metrics.waiting.set(not done)
            if done:
                self._metrics.rounds.inc()
                self._metrics.last_round.set_to_current_time()
            # Where tables come and go, the next look is soon; publishing goes by the clock, or a release.
            await wait_at_most(self._due, self._publish_seconds if done else _RETRY_SECONDS)

    async def round(self) -> bool:
        """Publish what is due; whether the tables allowed it.

        Raises:
            Fenced: another publisher has taken over.
        """
        self._due.clear()
        try:
            if self._claim is None or not self._begun:
                self._claim = await self._published.claim()
                await self._begin(self._claim)
            elif self._behind:
                await self._publish_anew()
            now_ms = await self._published.check(self._claim)
            return await self._reader.catch_up() and await self._publish_changed(now_ms)
        except TablesLost as error:
            logger.warning("what was published is published anew: %s", error)
            self._behind = True
            return False  # the round itself is still to come

    async def _begin(self, claim: Claim) -> None:
        async for name, packed in self._published.families():
            self._families[name] = unpack_family(packed)
            self._written[name] = _digest(packed)
        # All of them: their schools may have gone, or been withdrawn, while nobody looked.
        self._totals.touch(self._families)
        logger.info("publishing epoch=%d families=%d", claim.epoch, len(self._families))
        self._begun = True

    async def _publish_anew(self) -> None:
        """Write everything as it was published, over whatever Redis has."""
        organizations = self._reader.following.organizations
        known = () if organizations is None else organizations.under(STATE)
        self._claim = await self._published.claim()
        for name, family in sorted(self._families.items()):
            await self._write(published_anew(name, family, known))
        self._behind = False

    async def _publish_changed(self, now_ms: int) -> bool:
        if now_ms >= self._all_due_ms:
            self._all_due_ms = now_ms + _ALL_MS
            self._totals.touch(self._families)
        visible = 0
        for name in self._totals.changed():
            if not self._reader.ready:
                return False  # what is left of the totals is of tables that were lost meanwhile
            schools = self._schools(name)
            self._totals.settled(name)  # what changes from here on is the next round's
            if name not in self._families and not schools.released:
                continue
            family = self._families.setdefault(name, Family())
            # Off the event loop, which follows the tables meanwhile: 9,000 schools take a while.
            planned = await asyncio.to_thread(publication, name, family, schools, now_ms)
            digest = _digest(planned.family)
            if planned.visible or digest != self._written.get(name):
                await self._write(planned)
                self._written[name] = digest
                visible += planned.visible
        if visible:
            logger.info("published cells=%d", visible)
        return True

    async def _write(self, planned: Publication) -> None:
        """Write, and try again while Redis is away: whether it has taken it must be known before anything else is written."""
        assert self._claim is not None
        told = False
        while True:
            began = self._clock()
            try:
                self._claim = await self._published.publish(self._claim, planned)
            except REDIS_AWAY as error:
                if not told:
                    logger.warning("redis does not take a write, it is sent again error=%r", error)
                    told = True
                self._metrics.waiting.set(1)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if planned.visible:
                self._metrics.writes.inc()
                self._metrics.cells.inc(planned.visible)
                self._metrics.write_seconds.observe(self._clock() - began)
            return

    def _schools(self, name: CellField) -> Schools:
        """What all schools have, parted into those of which everybody may know that they have something, and the others."""
        releases, organizations = self._reader.following.releases, self._reader.following.organizations
        assert releases is not None and organizations is not None  # both are known while the tables are
        visibility = Visibility(releases, organizations, self._assessments)
        schools = Schools({}, {})
        for school, held in self._totals.family(name).items():
            is_released = visibility.sees(VisibilityClass.MASKED, school, name)
            (schools.released if is_released else schools.withheld)[school] = held
        return schools

    def _released(self, earlier: Releases, current: Releases) -> None:
        """Look at all families of the years in question, at once."""
        years = {key.school_year for key in current.changed_since(earlier)}
        names = {*self._families, *self._totals.names()}
        self._totals.touch(name for name in names if cell_name(name).school_year in years)
        self._due.set()


def _digest(packed: bytes) -> bytes:
    return blake2b(packed, digest_size=16).digest()

"""What decides about what an endpoint is told, as it holds at the moment of telling: roles, release states, directory.

Nothing here is pushed: whoever is about to tell something calls ``refresh`` first, which is one round trip while nothing has
changed.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from consumers.webhooks.connection import RedisClient
from schemas.access.permissions import Rights
from schemas.access.role_book import RoleBook
from schemas.access.roles import Roles
from schemas.access.visibility import Visibility
from schemas.assessments import AssessmentLookup
from schemas.catching_up import tables_incomplete
from schemas.errors import DependencyUnavailable
from schemas.events import decode_organization
from schemas.keys import (
    GENERATION,
    ORGANIZATIONS,
    ORGANIZATIONS_VERSION,
    PARTITION_COUNT,
    RELEASES,
    RELEASES_CHANGED_MS,
    RELEASES_VERSION,
    Generation,
)
from schemas.merged_cells import Serving
from schemas.organization_list import OrganizationList
from schemas.releases import Releases, ReleaseState, releases_from
from schemas.webhooks.endpoints import Endpoint

# Rights follow from an endpoint's grants and the roles; most owners have several endpoints.
_RIGHTS_REMEMBERED: Final = 20_000

_T = TypeVar("_T")


class NothingToTellBy(DependencyUnavailable):
    """Tables, release states or directory are not there, or not whole, just now; nothing may be told until they are."""


class Rules:
    """Everything that is asked before something is told."""

    def __init__(
        self, redis: RedisClient, roles: RoleBook, assessments: AssessmentLookup, *, unlisted: ReleaseState
    ) -> None:
        """``unlisted`` is the release state of what has none of its own."""
        self._redis = redis
        self._roles = roles
        self._assessments = assessments
        self._unlisted = unlisted
        self._releases: Releases | None = None
        self._organizations: OrganizationList | None = None
        self._serving: Serving | None = None
        self._visibility: Visibility | None = None
        self._rights: dict[tuple[object, ...], Rights] = {}
        self.stamp = 0  # another one whenever anything here is another
        roles.subscribe(self._take_roles)

    @property
    def visibility(self) -> Visibility:
        """Which rows each class sees."""
        return self._known(self._visibility)

    @property
    def releases(self) -> Releases:
        """The release states."""
        return self._known(self._releases)

    @property
    def organizations(self) -> OrganizationList:
        """The directory."""
        return self._known(self._organizations)

    @property
    def serving(self) -> Serving:
        """Which tables serve."""
        return self._known(self._serving)

    def rights(self, endpoint: Endpoint) -> Rights:
        """What an endpoint's owner may see, by the roles of now."""
        rights = self._rights.get(endpoint.grants)
        if rights is None:
            if len(self._rights) >= _RIGHTS_REMEMBERED:
                self._rights.clear()
            rights = self._rights[endpoint.grants] = self._roles.current.rights(endpoint.grants)
        return rights

    async def refresh(self) -> None:
        """Take in what holds now.

        Raises:
            NothingToTellBy: some of it is not there, or the tables are still being built from the log.
        """
        pipe: Any = self._redis.pipeline(transaction=False)
        for key in (GENERATION, PARTITION_COUNT, RELEASES_VERSION, ORGANIZATIONS_VERSION):
            pipe.get(key)
        generation, partitions, releases_version, organizations_version = await pipe.execute()
        if not generation or not partitions:
            raise NothingToTellBy("there are no tables yet; is a stream worker running?")
        serving = Serving(Generation(generation.decode()), int(partitions))
        await self._require_whole(serving)
        await self._take_releases(releases_version)
        await self._take_organizations(int(organizations_version or 0))
        if serving != self._serving:
            self._serving = serving
            self.stamp += 1
        if self._visibility is None:
            self._visibility = Visibility(self.releases, self.organizations, self._assessments)

    def _take_roles(self, roles: Roles) -> None:
        self._rights.clear()
        self.stamp += 1

    async def _require_whole(self, serving: Serving) -> None:
        pipe: Any = self._redis.pipeline(transaction=False)
        for keys in serving.partition_keys():
            pipe.exists(keys.position)
            pipe.hmget(keys.position, "next", "catch_up")
        replies = iter(await pipe.execute())
        for claimed, (next_offset, catch_up) in zip(replies, replies, strict=True):
            if tables_incomplete(
                claimed=bool(claimed),
                next_offset=int(next_offset) if next_offset else None,
                catch_up=int(catch_up) if catch_up else None,
            ):
                raise NothingToTellBy("the tables are still being built from the log")

    async def _take_releases(self, stored: bytes | None) -> None:
        known = self._releases
        if stored is not None and (known is None or int(stored) > known.version):
            version, entries, changed_ms = await self._read_releases()
            try:
                self._releases = releases_from(
                    entries, version=version, changed_ms=changed_ms, unlisted=self._unlisted
                )
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise NothingToTellBy(f"the release states in Redis cannot be read: {error}") from error
            self._visibility = None
            self.stamp += 1
        if self._releases is None:
            raise NothingToTellBy("the release states have not been read yet; is a stream worker running?")

    async def _read_releases(self) -> tuple[int, dict[bytes, bytes], int]:
        """The version that all release states make up, themselves, and when they changed."""
        pipe: Any = self._redis.pipeline(transaction=False)
        pipe.get(RELEASES_VERSION)
        pipe.hgetall(RELEASES)
        pipe.get(RELEASES_CHANGED_MS)
        pipe.get(RELEASES_VERSION)
        before, entries, changed_ms, after = await pipe.execute()
        if not before or before != after:
            raise NothingToTellBy("the release states change just now")
        return int(before), entries, int(changed_ms or 0)

    async def _take_organizations(self, version: int) -> None:
        known = self._organizations
        if known is not None and known.version == version:
            return
        entries: Any = await self._redis.hvals(ORGANIZATIONS)
        try:
            current = OrganizationList(map(decode_organization, entries), version)
        except msgspec.MsgspecError as error:
            raise NothingToTellBy(f"the directory in Redis cannot be read: {error}") from error
        if known is not None and version < known.version and len(current) < len(known):
            return  # Redis lost it, and it is being read again from its topic
        self._organizations = current
        self._visibility = None
        self.stamp += 1

    @staticmethod
    def _known(value: _T | None) -> _T:
        assert value is not None, "refresh has to come first"
        return value

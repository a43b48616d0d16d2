"""The organization directory: from its topic into Redis, and from Redis into each worker's memory."""

from __future__ import annotations

import logging
from typing import Final

from schemas.events import decode_organization
from schemas.keys import ORGANIZATIONS, ORGANIZATIONS_POSITION, ORGANIZATIONS_VERSION
from schemas.organizations import Directory
from schemas.topics import ORGANIZATIONS as ORGANIZATIONS_TOPIC
from streams.accidents import Accident, Accidents
from streams.connection import RedisClient
from streams.reading import Record
from streams.reference import ReadTopic, Reference, ReferenceStore

logger = logging.getLogger(__name__)


def _field_of(record: Record) -> str:
    return decode_organization(record.value or b"").cds


DIRECTORY: Final = Reference(
    topic=ORGANIZATIONS_TOPIC,
    what="the directory",
    entries=ORGANIZATIONS,
    version=ORGANIZATIONS_VERSION,
    position=ORGANIZATIONS_POSITION,
    field_of=_field_of,
    rolled_back=Accident.DIRECTORY_ROLLED_BACK,
)


class DirectoryStore(ReferenceStore):
    """Keeps Redis' directory up to date from the log, and ``directory`` up to date from Redis."""

    def __init__(
        self, redis: RedisClient, log_identity: str, read_topic: ReadTopic, accidents: Accidents
    ) -> None:
        """``log_identity`` names the organizations topic."""
        super().__init__(DIRECTORY, redis, log_identity, read_topic, accidents)
        self.directory = Directory()

    async def _load(self) -> None:
        for entry in await self._redis.hvals(ORGANIZATIONS):
            self.directory.put(decode_organization(entry))
        logger.info("directory loaded organizations=%d", len(self.directory))

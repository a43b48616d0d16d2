"""Watching the log from beside the fetching: is Kafka there, is it still the same log, and where does it end?

Fetching alone cannot tell. An empty answer looks like a quiet hour; a topic that was deleted and created again, and has
grown beyond our position since, can be read without any error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.errors import LogReplaced, PartitionsChanged
from schemas.topics import EXAM_RESULTS
from streams.kafka_outage import KafkaOutage
from streams.log import Log, NoTopic, ask_for_results

_ANSWER_SECONDS: Final = 3.0
_AGAIN_SECONDS: Final = 0.5


class LogWatch:
    """Asks Kafka about the results topic, over a connection of its own.

    Args:
        log: what the topic was when the worker started.
    """

    def __init__(self, kafka: str, log: Log, outage: KafkaOutage) -> None:
        self._log = log
        self._outage = outage
        self._reason = "no answer"
        settings: dict[str, Any] = {
            "bootstrap.servers": kafka,
            "error_cb": self._note_reason,
            "reconnect.backoff.max.ms": 2_000,
            "socket.timeout.ms": 10_000,  # a broker that accepts and is silent is away, too
            "log_level": 0,
        }
        # In no group; the library demands a name.
        self._asker = Consumer({**settings, "group.id": "score-streams-watch", "enable.auto.commit": False})
        self._admin = AdminClient(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-watch")
        self.in_doubt = False  # whether the topic was missing when it was last seen

    async def look(self, positions: Mapping[int, int]) -> dict[int, int]:
        """Where the log of each partition ends now; nothing while Kafka is away.

        Args:
            positions: next offset of each partition that we own.

        Raises:
            LogReplaced: it is another log than when we started, or ends before our position.
            PartitionsChanged: it has another number of partitions.
            DependencyUnavailable: Kafka has been away for longer than the budget.
        """
        try:
            # Every time: a changed number of partitions sends students elsewhere from that moment on, and a topic that
            # was recreated is read as if nothing had happened. Nothing else would tell.
            await self._check_identity()
            ends = await self._offsets(positions, OFFSET_END)
        except (KafkaException, TimeoutError, NoTopic) as error:
            self.in_doubt = self.in_doubt or isinstance(error, NoTopic)
            self._outage.noticed(self._told(error))
            return {}
        self._outage.over()
        for number, end in ends.items():
            if end < positions[number]:
                raise LogReplaced(
                    f"{EXAM_RESULTS}/{number} ends at {end}, but its tables stand at {positions[number]}: the topic was deleted "
                    "and created again, or truncated. Restore the topic, or build the tables from the new one with `scores rebuild --new-log`"
                )
        return ends

    async def catch_up_ends(self, partitions: Collection[int]) -> dict[int, int]:
        """Where tables that start from nothing will have caught up: the ends of those logs that hold anything.

        Waits for a Kafka that is away, and checks that the log is still the same.

        Raises:
            LogReplaced, PartitionsChanged, DependencyUnavailable: as ``look``.
        """
        while True:
            try:
                await self._check_identity()
                ends = await self._offsets(partitions, OFFSET_END)
                starts = await self._offsets(partitions, OFFSET_BEGINNING)
            except (KafkaException, TimeoutError, NoTopic) as error:
                self._outage.noticed(self._told(error))
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            self._outage.over()
            return {number: end for number, end in ends.items() if end > starts[number]}

    async def require_same_log(self) -> None:
        """Return when Kafka has said that the log is the one we started with; waits for a Kafka that is away.

        Raises:
            LogReplaced, PartitionsChanged, DependencyUnavailable: as ``look``.
        """
        await self.catch_up_ends(())

    async def close(self) -> None:
        """Disconnect, when the last question is answered."""
        await self._in_thread(self._asker.close)
        self._thread.shutdown(wait=False)

    async def _check_identity(self) -> None:
        identity, partitions = await self._in_thread(ask_for_results, self._admin, _ANSWER_SECONDS, self._log)
        self.in_doubt = False
        if identity != self._log.identity:
            raise LogReplaced(
                f"{EXAM_RESULTS} is now log {identity}, and was {self._log.identity} when this worker started: it was "
                "deleted and created again. Restore the topic, or build the tables from the new one with `scores rebuild --new-log`"
            )
        if partitions != self._log.partitions:
            raise PartitionsChanged(
                f"{EXAM_RESULTS} has {partitions} partitions now, and had {self._log.partitions}: students have "
                "changed partitions. Go back to a topic of as many partitions, or start with an empty Redis and a new topic"
            )

    async def _offsets(self, partitions: Collection[int], which: int) -> dict[int, int]:
        return await self._in_thread(self._ask_offsets, partitions, which) if partitions else {}

    def _ask_offsets(self, partitions: Collection[int], which: int) -> dict[int, int]:
        self._asker.poll(0)  # hands out what connections have to say
        asked = [TopicPartition(EXAM_RESULTS, number, which) for number in partitions]
        found: dict[int, int] = {}
        for answer in self._asker.offsets_for_times(asked, timeout=_ANSWER_SECONDS):
            if answer.error is not None:
                raise KafkaException(answer.error)
            found[answer.partition] = answer.offset
        return found

    def _note_reason(self, error: KafkaError) -> None:
        self._reason = error.str()

    def _told(self, error: Exception) -> str:
        if isinstance(error, NoTopic):
            return str(error)
        named = error.args[0].str() if isinstance(error, KafkaException) else "no answer in time"
        return f"{named}; {self._reason}"

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

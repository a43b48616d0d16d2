"""What Kafka knows of consumer groups: who is in them, which partitions those have, and the offsets they have committed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from consumers.lag.log_ends import ANSWER_SECONDS
from consumers.lag.samples import LogPartition

_AT_ONCE: Final = 100
_REBALANCING: Final = frozenset(
    {
        ConsumerGroupState.PREPARING_REBALANCING,
        ConsumerGroupState.COMPLETING_REBALANCING,
    }
)


@dataclass(frozen=True, slots=True)
class Group:
    """One consumer group.

    Attributes:
        state: by Kafka's name; empty when not known.
        members: how many; None when not known.
        assigned: who has each partition, in words.
        committed: the next offset of each partition that has one.
        settled: whether ``assigned`` is all there is to say; not while the group is shared out anew.
    """

    name: str
    state: str = ""
    members: int | None = None
    assigned: Mapping[LogPartition, str] = field(default_factory=dict)
    committed: Mapping[LogPartition, int] = field(default_factory=dict)
    settled: bool = False


@dataclass(frozen=True, slots=True)
class GroupsSeen:
    """All groups of a cluster, by name. ``told`` is False when the broker cannot tell of any, as the embedded one."""

    groups: Mapping[str, Group]
    told: bool = True


NOT_TOLD: Final = GroupsSeen({}, told=False)


class Groups:
    """Asks one cluster. Blocking; for one thread."""

    def __init__(self, kafka: str) -> None:
        self._kafka = kafka
        self._admin = self._client()

    def look(self, members_only: Collection[str] = ()) -> GroupsSeen:
        """Every group, and what it has committed.

        Args:
            members_only: groups of which committed offsets are not asked for.

        Raises:
            KafkaException, TimeoutError: no answer.
        """
        try:
            return self._look(members_only)
        except (KafkaException, TimeoutError):
            # One whose broker was gone for a while asks a coordinator that never answers, for as long as it lives.
            self._admin = self._client()
            raise

    def _client(self) -> AdminClient:
        return AdminClient(
            {"bootstrap.servers": self._kafka, "reconnect.backoff.max.ms": 1_000, "log_level": 0}
        )

    def _look(self, members_only: Collection[str]) -> GroupsSeen:
        listed: Any = self._admin.list_consumer_groups(request_timeout=ANSWER_SECONDS).result(
            timeout=ANSWER_SECONDS
        )
        for error in listed.errors or ():
            if _code(error) == KafkaError._UNSUPPORTED_FEATURE:
                return NOT_TOLD
            raise error if isinstance(error, KafkaException) else KafkaException(error)
        names = sorted(listing.group_id for listing in listed.valid or ())
        found: dict[str, Group] = {}
        for at in range(0, len(names), _AT_ONCE):
            some = names[at : at + _AT_ONCE]
            described = self._admin.describe_consumer_groups(some, request_timeout=ANSWER_SECONDS)
            committed = {
                name: self._admin.list_consumer_group_offsets(
                    [ConsumerGroupTopicPartitions(name)], request_timeout=ANSWER_SECONDS
                )[name]
                for name in some
                if name not in members_only
            }
            for name in some:
                offsets = _answer(committed[name]) if name in committed else None
                found[name] = _group(name, _answer(described[name]), offsets)
        return GroupsSeen(found)


def _group(name: str, described: Any, offsets: Any) -> Group:
    committed = {
        (one.topic, one.partition): one.offset
        for one in (offsets.topic_partitions if offsets is not None else None) or ()
        if one.error is None and one.offset >= 0
    }
    if described is None:
        return Group(name, committed=committed)
    assigned = {
        (one.topic, one.partition): member.group_instance_id
        or f"{member.client_id} at {member.host.lstrip('/')}"
        for member in described.members
        for one in member.assignment.topic_partitions
    }
    state = described.state
    return Group(
        name,
        state="".join(word.capitalize() for word in state.name.split("_")),
        members=len(described.members),
        assigned=assigned,
        committed=committed,
        # Somebody who only commits is no member of anything.
        settled=not described.is_simple_consumer_group and state not in _REBALANCING,
    )


def _answer(future: Future[Any]) -> Any:
    """What was answered; None for a group that went meanwhile, or that its coordinator cannot tell of just now."""
    try:
        return future.result(timeout=ANSWER_SECONDS)
    except (KafkaException, TimeoutError) as error:
        if isinstance(error, TimeoutError) or _code(error) in _AWAY:
            raise
        return None


_AWAY: Final = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN})


def _code(error: Any) -> Any:
    return (error.args[0] if isinstance(error, KafkaException) else error).code()

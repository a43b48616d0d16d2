"""Who stands where, before any log is asked: from what Redis and Kafka say, one draft for each reader of each topic; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from consumers.lag.groups import Group, GroupsSeen
from consumers.lag.log_ends import UNNAMED, TopicFacts
from consumers.lag.redis_positions import Positions, Stored, Tables
from consumers.lag.samples import OURS, STREAMS, WEBHOOKS, GroupSample, LogPartition, PartitionSample
from consumers.webhooks.intake import position_name
from consumers.webhooks.topic_feed import TOPICS as TOLD_OF
from schemas.catching_up import tables_incomplete
from schemas.topics import EXAM_RESULTS, ORGANIZATIONS, REJECTED, RELEASES

# Every topic of which we have to know where it ends.
TOPICS: Final = tuple(dict.fromkeys((EXAM_RESULTS, ORGANIZATIONS, RELEASES, REJECTED, *TOLD_OF)))


class Draft(Struct, frozen=True, gc=False):
    """One reader of one topic, of which only the log is not known yet.

    Attributes:
        at_ms: when its positions were as they are here.
        in_log: whether the positions are offsets of a log that can be asked.
        from_start: whether it reads from the beginning where it has no position.
    """

    sample: GroupSample
    at_ms: int
    in_log: bool = True
    from_start: bool = True


def of_tables(
    positions: Positions, facts: Mapping[str, TopicFacts], workers: Group | None
) -> Iterator[Draft]:
    """The stream workers, and the tables that they keep beside.

    Args:
        workers: their consumer group, which says who has which partition; None when nobody can tell.
    """
    topic = facts.get(EXAM_RESULTS)
    count = max(len(positions.partitions), topic.partitions if topic else 0)
    yield Draft(
        GroupSample(
            group=STREAMS,
            topic=EXAM_RESULTS,
            partitions=tuple(
                _worker_at(
                    number,
                    positions.partitions[number].tables if number < len(positions.partitions) else None,
                    topic,
                    workers,
                    positions.at_ms,
                )
                for number in range(count)
            ),
            generation=positions.serving,
            state="" if workers is None else workers.state,
            members=None if workers is None else workers.members,
        ),
        positions.at_ms,
    )
    for name, stored in ((ORGANIZATIONS, positions.organizations), (RELEASES, positions.releases)):
        if name in facts:
            yield Draft(_reference(name, stored, facts[name]), positions.at_ms)


def _worker_at(
    number: int, tables: Tables | None, topic: TopicFacts | None, workers: Group | None, at_ms: int
) -> PartitionSample:
    owner = "" if tables is None else tables.owner
    known = workers is not None and workers.settled
    member = "" if workers is None else workers.assigned.get((EXAM_RESULTS, number), "")
    if known:
        # Who has claimed the tables may be long gone; nobody takes that back.
        owner = (owner or member) if member else ""
    # A member that Kafka has is alive; whether it moves is another question. Else the tables tell when it was.
    told_ms = None if tables is None else max(tables.complete_ms or 0, tables.changed_ms or 0) or None
    heard_ms = at_ms if member else told_ms
    if tables is None:
        return PartitionSample(partition=number, owner=owner, owner_known=known, heard_ms=heard_ms)
    return PartitionSample(
        partition=number,
        position=tables.next,
        owner=owner,
        owner_known=known,
        epoch=tables.epoch,
        heard_ms=heard_ms,
        complete_ms=tables.complete_ms,
        catch_up=tables.catch_up if incomplete(tables) else None,
        log_replaced=bool(topic and tables.log and tables.log != f"{topic.cluster}/{topic.identity}"),
    )


def _reference(name: str, stored: Stored, topic: TopicFacts) -> GroupSample:
    """Any worker reads it on, so it has no owner to speak of."""
    log = stored.get(b"log", b"").decode()
    return GroupSample(
        group=STREAMS,
        topic=name,
        partitions=tuple(
            PartitionSample(
                partition=number,
                position=_number(stored.get(str(number).encode())),
                owner_known=False,
                log_replaced=bool(log) and log != f"{topic.cluster}/{topic.identity}",
            )
            for number in range(topic.partitions)
        ),
    )


def incomplete(tables: Tables) -> bool:
    """Whether a partition's tables are still being built."""
    return tables_incomplete(
        claimed=tables.epoch is not None, next_offset=tables.next, catch_up=tables.catch_up
    )


def of_webhooks(positions: Positions, facts: Mapping[str, TopicFacts]) -> Iterator[Draft]:
    """The worker that delivers webhooks, once there was one."""
    worker, holder = positions.worker, positions.webhooks_lease
    if not worker and not holder:
        return
    log = worker.get(b"log", b"").decode()
    replaced = (
        bool(log) and set(TOLD_OF) <= facts.keys() and log != _names_of([facts[one] for one in TOLD_OF])
    )
    epoch = _number(worker.get(b"epoch"))
    for topic in TOLD_OF:
        if topic not in facts:
            continue
        partitions = tuple(
            PartitionSample(
                partition=number,
                position=_number(worker.get(position_name(topic, number).encode())),
                owner=holder,
                epoch=epoch,
                heard_ms=positions.at_ms if holder else None,
                log_replaced=replaced,
            )
            for number in range(facts[topic].partitions)
        )
        members = 1 if holder else 0
        yield Draft(
            GroupSample(group=WEBHOOKS, topic=topic, partitions=partitions, members=members), positions.at_ms
        )


def of_groups(seen: GroupsSeen, at_ms: int, besides: Iterable[str]) -> Iterator[Draft]:
    """Every other consumer group, by topic.

    Args:
        at_ms: when they were looked at.
        besides: groups that are judged by what Redis has.
    """
    left_out = set(besides)
    for name, group in seen.groups.items():
        if name in left_out:
            continue
        by_topic: dict[str, list[int]] = {}
        for topic, number in sorted(group.committed.keys() | group.assigned.keys()):
            by_topic.setdefault(topic, []).append(number)
        for topic, numbers in by_topic.items():
            sample = GroupSample(
                group=f"group {name}" if name in OURS else name,
                topic=topic,
                partitions=tuple(_member_at(group, (topic, number), at_ms) for number in numbers),
                state=group.state,
                members=group.members,
            )
            yield Draft(sample, at_ms, from_start=False)


def _member_at(group: Group, partition: LogPartition, at_ms: int) -> PartitionSample:
    owner = group.assigned.get(partition, "")
    return PartitionSample(
        partition=partition[1],
        position=group.committed.get(partition),
        owner=owner,
        owner_known=group.settled,
        heard_ms=at_ms if owner else None,  # a member that is silent is put out of the group
    )


def _names_of(topics: list[TopicFacts]) -> str:
    """All logs in one, as ``consumers.webhooks.topic_feed`` names them."""
    identities = [one.identity for one in topics]
    return "/".join((topics[0].cluster, *(identities if identities[0] != UNNAMED else (UNNAMED,))))


def _number(stored: bytes | None) -> int | None:
    return int(stored) if stored else None

"""Who stands where, before any log is asked: from what Redis and Kafka say, one draft for each reader of each topic; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from consumers.lag.groups import Group, GroupsSeen
from consumers.lag.log_ends import UNNAMED, TopicFacts
from consumers.lag.redis_positions import Positions, Stored, Tables, Unrelayed
from consumers.lag.samples import (
    OURS,
    PUBLISHER,
    RELAY,
    STREAMS,
    TABLES,
    WEBHOOKS,
    GroupSample,
    LogPartition,
    PartitionSample,
)
from consumers.webhooks.intake import position_name
from consumers.webhooks.topic_feed import TOPICS as TOLD_OF
from schemas.catching_up import tables_incomplete
from schemas.topics import (
    AGGREGATE_CHANGES,
    EXAM_RESULTS,
    ORGANIZATIONS,
    PUBLISHED_CHANGES,
    REJECTED,
    RELEASES,
    RESULT_CHANGES,
)

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
        catch_up=tables.catch_up if _incomplete(tables) else None,
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


def of_relay(positions: Positions, serving_since_ms: int) -> Iterator[Draft]:
    """The relay, by what it writes.

    Args:
        serving_since_ms: since when the serving generation is known to serve. Until the relay has taken over all of a new
            one, nothing that changed in it earlier is late: Kafka has it from the tables before.
    """
    taking_over = positions.relayed != positions.serving

    def partition(number: int, tables: Tables, unrelayed: Unrelayed, *, new: bool) -> PartitionSample:
        first_ms = unrelayed.first_ms
        if first_ms is not None and new:
            first_ms = max(first_ms, serving_since_ms)
        position = tables.changed_ms if unrelayed.first_ms is None else unrelayed.upto_ms
        if position is None:
            position = unrelayed.first_ms  # what changed before the first that waits does not wait
        return PartitionSample(
            partition=number,
            position=position,
            end=tables.changed_ms,
            lag_records=unrelayed.records,
            # Redis has set both times.
            lag_seconds=0.0 if first_ms is None else max(0, positions.redis_ms - first_ms) / 1000,
            owner="" if positions.relay_lease is None else f"epoch {positions.relay_lease}",
            epoch=positions.relay_lease,
            heard_ms=None if positions.relay_lease is None else positions.at_ms,
            catch_up=tables.changed_ms if new else None,
        )

    everywhere = positions.partitions
    # While one partition's tables are still being built, it tells of no cell of any.
    waits = taking_over or any(_incomplete(one.tables) for one in everywhere)
    parts = {
        AGGREGATE_CHANGES: tuple(
            partition(number, one.tables, one.cells, new=waits) for number, one in enumerate(everywhere)
        ),
        RESULT_CHANGES: tuple(
            partition(number, one.tables, one.results, new=False) for number, one in enumerate(everywhere)
        ),
        PUBLISHED_CHANGES: (partition(0, positions.published, positions.published_cells, new=False),),
    }
    for topic, partitions in parts.items():
        if partitions:
            generation = "" if topic == PUBLISHED_CHANGES else positions.serving
            sample = GroupSample(
                group=RELAY,
                topic=topic,
                partitions=partitions,
                generation=generation,
                members=0 if positions.relay_lease is None else 1,
            )
            yield Draft(sample, positions.at_ms, in_log=False)


def _incomplete(tables: Tables) -> bool:
    return tables_incomplete(
        claimed=tables.epoch is not None, next_offset=tables.next, catch_up=tables.catch_up
    )


def of_publisher(positions: Positions) -> Iterator[Draft]:
    """The publisher, once there was one."""
    tables = positions.published
    if tables.epoch is None:
        return
    partition = PartitionSample(
        partition=0,
        position=tables.next,
        owner=tables.owner,
        owner_known=False,  # who was the last; nobody takes that back
        epoch=tables.epoch,
        heard_ms=tables.changed_ms,
    )
    yield Draft(
        GroupSample(group=PUBLISHER, topic=TABLES, partitions=(partition,)), positions.at_ms, in_log=False
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

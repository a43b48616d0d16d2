"""Readers of the tables in Redis, who read no log of Kafka's: the relay, and the publisher; pure."""

from __future__ import annotations

from collections.abc import Iterator

from consumers.lag.redis_positions import Positions, Tables, Unrelayed
from consumers.lag.samples import PUBLISHER, RELAY, TABLES, GroupSample, PartitionSample
from consumers.lag.standings import Draft, incomplete
from schemas.topics import AGGREGATE_CHANGES, PUBLISHED_CHANGES, RESULT_CHANGES


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
    waits = taking_over or any(incomplete(one.tables) for one in everywhere)
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


def of_publisher(positions: Positions) -> Iterator[Draft]:
    """The publisher, once there was one."""
    tables, heard_ms = positions.published, positions.published_heard_ms
    if tables.epoch is None:
        return
    if heard_ms is not None:
        # Redis has set both times, so that clocks which disagree make nobody silent.
        heard_ms = positions.at_ms - max(0, positions.redis_ms - heard_ms)
    partition = PartitionSample(
        partition=0,
        position=tables.next,
        owner=tables.owner,
        owner_known=False,  # who was the last; nobody takes that back
        epoch=tables.epoch,
        heard_ms=heard_ms,
    )
    yield Draft(
        GroupSample(group=PUBLISHER, topic=TABLES, partitions=(partition,)), positions.at_ms, in_log=False
    )

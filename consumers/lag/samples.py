"""What the sources say at one moment: where every reader stands, where its log begins and ends, and how old its oldest unread record is.

Facts only. What they mean is for ``consumers.lag.verdicts`` to say.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

# The readers that are ours; everybody else goes by the name of its consumer group.
STREAMS: Final = "streams"
RELAY: Final = "relay"
PUBLISHER: Final = "publisher"
WEBHOOKS: Final = "webhooks"
OURS: Final = frozenset({STREAMS, RELAY, PUBLISHER, WEBHOOKS})

TABLES: Final = "tables"  # what the publisher reads, in place of a topic
COUNTED_AT_MOST: Final = (
    1_000  # notices that the relay has not read, of each partition; with more of them it says so many
)

LogPartition = tuple[str, int]  # topic and partition


# No cycles are possible, and there are 50,000 of them in a large cluster: the garbage collector need not look at them.
class PartitionSample(Struct, frozen=True, kw_only=True, gc=False):
    """One reader of one partition. Offsets are None where they are not known.

    Attributes:
        position: the offset to read next; None: nothing was ever read, or nobody says. Of the relay and the publisher: see
            ``GroupSample.topic``.
        start, end: the oldest offset that is left; the offset that is written next.
        lag_records: offsets from the position (or the start, if that is later) to the end. In a log with gaps, which
            compaction and transactions leave, there are fewer records than that.
        lag_seconds: how long the first record at or behind the position has been in the log; 0.0 when there is none, None
            when it could not be fetched in time.
        owner: who reads it; empty when nobody does. ``owner_known`` says whether that can be told at all.
        epoch: grows with every claim of the partition; None where there is no such thing.
        heard_ms: when its reader last gave a sign of life, by the monitor's clock; None: never.
        complete_ms: up to when the tables hold everything; None where there is no such thing.
        catch_up: the end that the log had when the tables began with nothing, until they get there; else None.
        lost_records: offsets that retention deleted before they were read.
        log_replaced: the position belongs to a log that is no more, and says nothing of this one.
    """

    partition: int
    position: int | None = None
    start: int | None = None
    end: int | None = None
    lag_records: int | None = None
    lag_seconds: float | None = None
    owner: str = ""
    owner_known: bool = True
    epoch: int | None = None
    heard_ms: int | None = None
    complete_ms: int | None = None
    catch_up: int | None = None
    lost_records: int = 0
    log_replaced: bool = False


class GroupSample(Struct, frozen=True, kw_only=True, gc=False):
    """One reader of one topic, with all partitions of it that it reads or should read, by number.

    Attributes:
        topic: of Kafka, which it reads; in ``RELAY``, which it writes: it reads the change notices of the tables in Redis.
            Its position is up to when (milliseconds since 1970) what changed is in Kafka, and the end when something
            changed last. ``TABLES`` for the publisher, whose position is the number of its next write; its lag is not known.
        generation: of the tables that the positions belong to; another one is no rewind. Empty where there is none.
        state: what Kafka says of the group (``Stable``, ``Empty``, ``PreparingRebalancing``, ...); empty for those that Redis tells of.
        members: how many; of the relay and the webhooks one or none, whoever holds the lease. None when not known.
    """

    group: str
    topic: str
    partitions: tuple[PartitionSample, ...]
    generation: str = ""
    state: str = ""
    members: int | None = None


class Skew(Struct, frozen=True, gc=False):
    """How far another clock is ahead of the monitor's (behind: below 0), as seen from here.

    ``uncertain_seconds`` is half the round trip in which it was asked.
    """

    clock: str  # "redis", or "records of <topic>"
    seconds: float
    uncertain_seconds: float = 0.0


class Trouble(Struct, frozen=True, gc=False):
    """A source that did not answer, or only in part; what it would have told is None or missing."""

    source: str  # "redis" or "kafka"
    reason: str


class Snapshot(Struct, frozen=True, kw_only=True):
    """All that the sources said at one moment.

    Attributes:
        at_ms: the monitor's clock when it began to ask.
        groups: sorted by name and topic.
        serving: the generation that is served; empty when there is none.
        rebuilding: a generation is being filled beside it.
        rejected: rejected events so far (offsets of the topic of rejected records); None when not known.
        events: events so far (offsets of the results topic); None when not known.
    """

    at_ms: int
    groups: tuple[GroupSample, ...] = ()
    skews: tuple[Skew, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    serving: str = ""
    rebuilding: bool = False
    rejected: int | None = None
    events: int | None = None
    took_seconds: float = 0.0

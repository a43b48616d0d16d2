"""Kafka topics: their names, how many partitions they start with, and how long they keep what they hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

EXAM_RESULTS: Final = "exam-results.v1"
ORGANIZATIONS: Final = "organizations.v1"
RELEASES: Final = "releases.v1"
CLOSINGS: Final = "closings.v1"
AGGREGATE_CHANGES: Final = "aggregate-changes.v1"
PUBLISHED_CHANGES: Final = "published-changes.v1"
RESULT_CHANGES: Final = "result-changes.v1"
REJECTED: Final = "exam-results.rejected.v1"
AUDIT: Final = "audit.v1"

_FOREVER_MS: Final = "-1"
_THIRTY_DAYS_MS: Final = "2592000000"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it must be created."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def topics(result_partitions: int) -> tuple[Topic, ...]:
    """All topics of a deployment whose results are spread over ``result_partitions``.

    Results are kept for ever, because the aggregates are rebuilt from them; a deployment may choose a retention, but
    never one shorter than a season.
    """
    return (
        Topic(
            EXAM_RESULTS,
            result_partitions,
            # The time up to which results are complete is taken from records: the broker's clock, not each producer's.
            {
                "cleanup.policy": "delete",
                "retention.ms": _FOREVER_MS,
                "message.timestamp.type": "LogAppendTime",
            },
        ),
        Topic(ORGANIZATIONS, 4, {"cleanup.policy": "compact"}),
        # One partition: the changes of one order ("these 400 districts, now") are applied in that order, and a few
        # thousand entries a year need no more.
        Topic(RELEASES, 1, {"cleanup.policy": "compact"}),
        # One partition: closings and reopenings have one order. Nothing is compacted away, because a replay must know when a
        # test was closed in its time; and the broker's clock decides from when, so it sets the time.
        Topic(
            CLOSINGS,
            1,
            {
                "cleanup.policy": "delete",
                "retention.ms": _FOREVER_MS,
                "message.timestamp.type": "LogAppendTime",
            },
        ),
        Topic(AGGREGATE_CHANGES, result_partitions, {"cleanup.policy": "compact"}),
        Topic(PUBLISHED_CHANGES, result_partitions, {"cleanup.policy": "compact"}),
        Topic(
            RESULT_CHANGES, result_partitions, {"cleanup.policy": "delete", "retention.ms": _THIRTY_DAYS_MS}
        ),
        Topic(REJECTED, 4, {"cleanup.policy": "delete", "retention.ms": _FOREVER_MS}),
        # Never compacted: a chain that lacks entries is a chain that somebody has tampered with.
        Topic(
            AUDIT,
            4,
            {"cleanup.policy": "delete", "retention.ms": _FOREVER_MS, "retention.bytes": "-1"},
        ),
    )

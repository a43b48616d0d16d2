"""Kafka topics: their names, how many partitions they start with, and how long they keep what they hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

EXAM_RESULTS: Final = "exam-results.v1"
ORGANIZATIONS: Final = "organizations.v1"
AGGREGATE_CHANGES: Final = "aggregate-changes.v1"
REJECTED: Final = "exam-results.rejected.v1"

_FOREVER_MS: Final = "-1"


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
        Topic(AGGREGATE_CHANGES, result_partitions, {"cleanup.policy": "compact"}),
        Topic(REJECTED, 4, {"cleanup.policy": "delete", "retention.ms": _FOREVER_MS}),
    )

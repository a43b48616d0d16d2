"""Every error this service raises on purpose.

    ScoreStreamError
    ├── InvalidInput           the caller must change something: a setting, a file, an address, an argument
    │   ├── InvalidIdentifier  a CDS code, grade or student identifier is not one
    │   └── UnknownAssessment  the registry has no such assessment
    │       └── RefusedAssessment  the registry knows it and says why it is not taken
    ├── EventRejected          one event cannot be applied; it goes to the rejected topic and the partition moves on
    ├── AggregateUnderflow     retracting more than was applied: the state is not the sum of its history
    ├── Fenced                 another worker has claimed this partition
    ├── PositionMoved          this batch does not start where the partition stands
    │   └── AppliedAlready     ... because it was applied, and only the answer got lost
    ├── BatchTooLarge          one script cannot take this batch; it is applied in parts
    ├── TablesLost             Redis no longer has the position it had a moment ago
    ├── LogGap                 records between the position and the log are gone
    ├── LogReplaced            the topic behind the stored positions is not the topic we read
    ├── PartitionsChanged      the topic has another number of partitions than the tables
    ├── Stalled                records wait, and nothing is applied
    ├── GroupFailed            membership of the consumer group broke down
    ├── LayoutChanged          the tables in Redis are of another layout than this version's
    ├── RebuildStopped         a rebuild ended before its tables serve; what serves is untouched
    └── DependencyUnavailable  Kafka or Redis did not answer within its budget

A message names the value and the remedy. ``retriable`` says whether doing the same again can help.
"""

from __future__ import annotations


class ScoreStreamError(Exception):
    """Root of all errors of this service."""

    retriable = False


class InvalidInput(ScoreStreamError):
    """Something given to us is wrong; the message names it and the remedy."""


class InvalidIdentifier(InvalidInput):
    """A CDS code, grade or other identifier does not have its form."""


class UnknownAssessment(InvalidInput):
    """The assessment registry has no entry for this assessment and school year."""


class RefusedAssessment(UnknownAssessment):
    """The assessment is known, and never taken (Initial ELPAC), or not for this year (discontinued)."""


class EventRejected(ScoreStreamError):
    """One event cannot be applied.

    Attributes:
        reason: a value of ``schemas.rejections.Reason``.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class AggregateUnderflow(ScoreStreamError):
    """Nothing is left to retract: the history was replayed from the wrong place; rebuild from the topic."""


class Fenced(ScoreStreamError):
    """Another worker holds a newer epoch of this partition; nothing was written."""


class PositionMoved(ScoreStreamError):
    """The batch was not fetched from the partition's stored position; nothing was written."""


class AppliedAlready(PositionMoved):
    """The partition stands where this very batch of ours leaves it: it was written, and the answer got lost."""


class BatchTooLarge(ScoreStreamError):
    """One script cannot take this batch; nothing was written. Applied in parts, each is as atomic."""


class TablesLost(ScoreStreamError):
    """Redis has lost this partition's tables while we wrote them; a fresh start reads the log again from its beginning."""


class LogGap(ScoreStreamError):
    """Records that were not applied yet are no longer in the log; the figures would silently miss them."""


class LogReplaced(ScoreStreamError):
    """The stored positions belong to another log; rebuild, or restore the topic."""


class LayoutChanged(ScoreStreamError):
    """The serving tables are of another layout than this version reads and writes; rebuild them."""


class RebuildStopped(ScoreStreamError):
    """A rebuild ended before its tables serve; it can be resumed, and the serving tables are untouched."""


class PartitionsChanged(ScoreStreamError):
    """Another number of partitions sends students elsewhere: what they had would be counted twice."""


class Stalled(ScoreStreamError):
    """The worker lives and does not work; a fresh start goes on from where the tables stand."""

    retriable = True


class GroupFailed(ScoreStreamError):
    """Membership of the consumer group broke down; a fresh start joins it anew."""

    retriable = True


class DependencyUnavailable(ScoreStreamError):
    """Kafka or Redis did not answer within its time budget."""

    retriable = True

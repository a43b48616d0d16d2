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
    ├── TablesLost             Redis no longer has the position it had a moment ago
    ├── LogReplaced            the topic behind the stored positions is not the topic we read
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


class TablesLost(ScoreStreamError):
    """Redis has lost this partition's tables while we wrote them; a fresh start reads the log again from its beginning."""


class LogReplaced(ScoreStreamError):
    """The stored positions belong to another log; rebuild, or restore the topic."""


class DependencyUnavailable(ScoreStreamError):
    """Kafka or Redis did not answer within its time budget."""

    retriable = True

"""Why an event was not applied, what to do about it, and the headers that carry it to the rejected topic.

The record there has the original key, bytes and headers; the ``rejected_`` headers say where it came from and why, so
that it can be found, explained and produced again unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from schemas.errors import InvalidInput
from schemas.topics import EXAM_RESULTS, REJECTED


class Reason(StrEnum):
    """Closed list, from what time may heal to what the producer must mend."""

    UNKNOWN_ORGANIZATION = "unknown_organization"  # parked: retried when the directory has the school
    UNKNOWN_ASSESSMENT = "unknown_assessment"  # parked: retried when the registry has the assessment
    CLOSED = "closed"  # parked: the test of that year is closed; retried when it is reopened
    REFUSED_ASSESSMENT = "refused_assessment"  # Initial ELPAC, or discontinued before this year
    INVALID = "invalid"  # decodes, but says something impossible
    CONTRADICTION = "contradiction"  # same version, different content: a producer's bug
    WRONG_KEY = "wrong_key"  # the record key is not the student's pseudonym
    UNDECODABLE = "undecodable"  # not JSON of the event's type

    @property
    def parked(self) -> bool:
        """Whether waiting can help: the event itself is sound."""
        return self in PARKED

    @property
    def remedy(self) -> str:
        """What to do next, as a sentence for an operator."""
        return _REMEDIES[self]


PARKED: Final = frozenset({Reason.UNKNOWN_ORGANIZATION, Reason.UNKNOWN_ASSESSMENT, Reason.CLOSED})

_REMEDIES: Final = {
    Reason.UNKNOWN_ORGANIZATION: (
        "Load the missing school with `scores entities load FILE`, then `scores rejected retry`."
    ),
    Reason.UNKNOWN_ASSESSMENT: (
        "Add the assessment to the registry (schemas/assessment_data), restart the workers, then "
        "`scores rejected retry`; where the id is misspelt, the producer sends it corrected."
    ),
    Reason.CLOSED: (
        "The year's results of this test are final. Where they must change all the same: `scores releases reopen --year "
        "YEAR --test TEST`, then `scores rejected retry`."
    ),
    Reason.REFUSED_ASSESSMENT: (
        "Nothing to retry: this test is never taken, or not for that year. Ask the producer not to send it."
    ),
    Reason.INVALID: (
        "Give the producer what `scores rejected export --reason invalid` writes; the corrected result comes with a "
        "later status date."
    ),
    Reason.CONTRADICTION: (
        "Two contents came under one version. The producer says which is right and sends it again with a later "
        "status date."
    ),
    Reason.WRONG_KEY: (
        "Compare SCORES_STUDENT_KEY_SECRET of producer and workers. Was it wrong at the workers, mend it, then "
        "`scores rejected retry --reason wrong_key`; else the producer sends again under the right key."
    ),
    Reason.UNDECODABLE: (
        "The bytes are no exam result. Find who writes to the topic (`scores rejected show REF`) and have it sent "
        "as described in docs/wire-format.md."
    ),
}

_PREFIX: Final = "rejected_"
HEADER_REASON: Final = "rejected_reason"
HEADER_DETAIL: Final = "rejected_detail"
HEADER_TOPIC: Final = "rejected_topic"
HEADER_PARTITION: Final = "rejected_partition"
HEADER_OFFSET: Final = "rejected_offset"
HEADER_TIME: Final = "rejected_time"
HEADER_OMITTED: Final = "rejected_omitted"  # key, headers, value: what was too large to go along
HEADER_RETRIED: Final = (
    "rejected_retried"  # on a marker: what stood at the coordinates was produced again then
)
HEADER_RETRY_OF: Final = "retry_of"  # on a result produced again: the reference of what was rejected

_REFERENCE: Final = re.compile(r"(?P<parked>import-)?(?P<partition>[0-9]{1,5}):(?P<offset>[0-9]{1,19})")


class Coordinates(NamedTuple):
    """Where a rejected record stood: in the results topic, or only ever in the rejected topic (a parked import)."""

    topic: str
    partition: int
    offset: int

    @property
    def reference(self) -> str:
        """The short name by which operators call the record: ``3:1042``, or ``import-3:1042`` for a parked import."""
        return f"{'import-' if self.topic == REJECTED else ''}{self.partition}:{self.offset}"


def coordinates_of(reference: str) -> Coordinates:
    """The coordinates that a reference means.

    Raises:
        InvalidInput: it is no reference.
    """
    found = _REFERENCE.fullmatch(reference.strip())
    if found is None:
        raise InvalidInput(
            f"'{reference[:40]}' is not a reference; expected PARTITION:OFFSET such as 3:1042, or import-3:1042, as "
            "`scores rejected list` shows them"
        )
    topic = REJECTED if found["parked"] else EXAM_RESULTS
    return Coordinates(topic, int(found["partition"]), int(found["offset"]))


def original_headers(headers: Iterable[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The headers that the event came with, those of its rejection left out."""
    return [(name, value) for name, value in headers if not name.startswith(_PREFIX)]

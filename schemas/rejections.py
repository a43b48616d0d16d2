"""Why an event was not applied, and the headers that carry it to the rejected topic.

The record there has the original key and the original bytes; these headers say where it came from and why, so that it
can be found, explained and produced again unchanged.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Closed list, from what time may heal to what the producer must mend."""

    UNKNOWN_ORGANIZATION = "unknown_organization"  # parked: retried when the directory has the school
    UNKNOWN_ASSESSMENT = "unknown_assessment"  # parked: retried when the registry has the assessment
    REFUSED_ASSESSMENT = "refused_assessment"  # Initial ELPAC, or discontinued before this year
    INVALID = "invalid"  # decodes, but says something impossible
    CONTRADICTION = "contradiction"  # same version, different content: a producer's bug
    WRONG_KEY = "wrong_key"  # the record key is not the student's pseudonym
    UNDECODABLE = "undecodable"  # not JSON of the event's type

    @property
    def parked(self) -> bool:
        """Whether waiting can help: the event itself is sound."""
        return self in {Reason.UNKNOWN_ORGANIZATION, Reason.UNKNOWN_ASSESSMENT}


HEADER_REASON: Final = "rejected_reason"
HEADER_DETAIL: Final = "rejected_detail"
HEADER_TOPIC: Final = "rejected_topic"
HEADER_PARTITION: Final = "rejected_partition"
HEADER_OFFSET: Final = "rejected_offset"
HEADER_TIME: Final = "rejected_time"

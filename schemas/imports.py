"""What became of a submitted exam report, in the codes that the state's systems use.

The numbers are those of the reporting warehouse's import status; data stewards already know them.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct


class ImportStatus(IntEnum):
    """Outcome of one submitted document: refused below zero, accepted from zero on."""

    PIPELINE_FAILURE = -7  # our fault; submit again
    UNKNOWN_SCHOOL = -6  # parked until the directory has the school
    UNKNOWN_ASMT = -5  # the registry has no such assessment
    UNAUTHORIZED = -4
    BAD_DATA = -3  # well formed, but a value cannot be used
    BAD_FORMAT = -2  # not XML, or not within the limits
    INVALID = -1  # XML, but not an exam report
    ACCEPTED = 0  # acknowledged by Kafka
    PROCESSED = 1  # in the aggregates


class FieldError(Struct, frozen=True, gc=False):
    """One fault of a document: which element, what it said, and what would be right."""

    element: str
    value: str
    error: str

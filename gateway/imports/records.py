"""What is kept of each submitted document, and how it is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

from schemas.imports import FieldError, ImportStatus

IMPORTS_PATH: Final = "/v1/exams/imports"


class Outcome(StrEnum):
    """What one submission of a document came to; every submission counts as exactly one."""

    ACCEPTED = "accepted"  # acknowledged by Kafka
    DUPLICATE = "duplicate"  # the same bytes were taken before
    PARKED = "parked"  # waits for its school in the directory
    REJECTED = "rejected"


class ImportRecord(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The result of one submitted document. It holds nothing that says whose exam it was."""

    id: str
    digest: str  # SHA-256 of the document's bytes, hexadecimal
    content_type: str
    status: ImportStatus
    creator: str
    created: datetime
    filename: str | None = None
    batch: str | None = None
    errors: tuple[FieldError, ...] = ()
    warnings: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class Submission:
    """One document of a request with what became of it.

    ``new`` tells a record that this submission made from an earlier one that it is answered with.
    """

    record: ImportRecord
    outcome: Outcome
    new: bool = True


encode_record: Final = msgspec.json.Encoder().encode
decode_record: Final = msgspec.json.Decoder(ImportRecord).decode


def shown(record: ImportRecord) -> dict[str, object]:
    """The record as the endpoint answers with it."""
    return {
        "id": record.id,
        "content": "ExamResult",
        "contentType": record.content_type,
        "digest": record.digest,
        "status": record.status.name,
        "code": int(record.status),
        "creator": record.creator,
        "created": record.created.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "filename": record.filename,
        "batch": record.batch,
        "errors": msgspec.to_builtins(list(record.errors)),
        "warnings": msgspec.to_builtins(list(record.warnings)),
        "_links": {"self": {"href": f"{IMPORTS_PATH}/{record.id}"}},
    }


def tally(submissions: Iterable[Submission]) -> Counter[str]:
    """How many documents came to what: ``received``, each outcome, and ``rejected:<status>``."""
    counts: Counter[str] = Counter()
    for submission in submissions:
        counts["received"] += 1
        if submission.outcome is Outcome.REJECTED:
            counts[f"{Outcome.REJECTED}:{submission.record.status.name}"] += 1
        else:
            counts[submission.outcome] += 1
    return counts


def summary(counts: Counter[str]) -> dict[str, object]:
    """A tally as it is told; received = accepted + duplicate + parked + all rejected."""
    prefix = f"{Outcome.REJECTED}:"
    return {
        "received": counts["received"],
        "accepted": counts[Outcome.ACCEPTED],
        "duplicate": counts[Outcome.DUPLICATE],
        "parked": counts[Outcome.PARKED],
        "rejected": {
            name.removeprefix(prefix): number
            for name, number in sorted(counts.items())
            if name.startswith(prefix)
        },
    }

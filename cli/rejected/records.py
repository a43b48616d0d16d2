"""What stands in the rejected topic, as values: rejections, and markers of what was retried since."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from schemas import rejections
from schemas.closings import closed_test_in
from schemas.events import from_microseconds, microseconds
from schemas.rejections import Coordinates, Reason, original_headers
from schemas.topics import EXAM_RESULTS, REJECTED
from streams.topic_reading import StoredRecord

UNNAMED: Final = "unnamed"  # the reason of a record that somebody else put into the topic

_REASONS: Final = frozenset(Reason)
_SCHOOL: Final = re.compile(r"\d{14}", re.ASCII)
_LONGEST_ASSESSMENT: Final = 250
_LATEST_MS: Final = 253_402_300_799_999  # the end of the year 9999; a producer's clock may say anything


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """One rejection, whole."""

    stored: StoredRecord  # as it stands in the rejected topic
    origin: Coordinates
    reason: str
    detail: str
    time_ms: int
    headers: tuple[tuple[str, bytes], ...]  # the event's own
    retry_of: str | None
    omitted: tuple[str, ...]  # what was too large to go along

    @property
    def reference(self) -> str:
        """How operators call it."""
        return self.origin.reference

    @property
    def facts(self) -> dict[str, object]:
        """Why, when and from where: what every rendering of a record tells, whoever may see it."""
        return {
            "reason": self.reason,
            "detail": self.detail,
            "time": stamp(self.time_ms),
            "topic": self.origin.topic,
            "partition": self.origin.partition,
            "offset": self.origin.offset,
            "retry_of": self.retry_of,
            "omitted": list(self.omitted),
        }

    @property
    def parked_import(self) -> str | None:
        """The import that the gateway parked; tombstones that go ahead of a state belong to the same one."""
        if self.origin.topic != REJECTED:
            return None
        for name, value in self.headers:
            if name == "ce_id":
                return value.decode(errors="replace").partition(".")[0]
        return None


@dataclass(frozen=True, slots=True)
class Retried:
    """What stood at ``origin`` was produced again."""

    origin: Coordinates
    time_ms: int


@dataclass(frozen=True, slots=True)
class Subject:
    """What a result is about, without saying whose it is; None where the bytes do not say."""

    school: str | None = None
    tested_school: str | None = None
    assessment: str | None = None
    tombstone: bool = False


def read_rejected(stored: StoredRecord) -> RejectedRecord | Retried:
    """A record of the rejected topic; whatever it holds, it is one of the two."""
    headers = {name: value for name, value in stored.headers if name.startswith("rejected_")}
    origin = _origin(headers, stored)
    retried = headers.get(rejections.HEADER_RETRIED)
    if retried is not None:
        return Retried(origin, _milliseconds(retried, stored.timestamp))
    original = tuple(original_headers(stored.headers))
    retry_of = next((value for name, value in original if name == rejections.HEADER_RETRY_OF), None)
    omitted = _text(headers, rejections.HEADER_OMITTED)
    return RejectedRecord(
        stored,
        origin,
        reason if (reason := _text(headers, rejections.HEADER_REASON)) in _REASONS else UNNAMED,
        _text(headers, rejections.HEADER_DETAIL),
        _milliseconds(headers.get(rejections.HEADER_TIME, b""), stored.timestamp),
        original,
        None if retry_of is None else printable(retry_of.decode(errors="replace")),
        tuple(omitted.split(",")) if omitted else (),
    )


def subject(value: bytes | None) -> Subject:
    """The school and assessment that a body names, if it is JSON and says so in our form."""
    try:
        body = msgspec.json.decode(value or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Subject()
    if not isinstance(body, dict):
        return Subject()
    return Subject(
        _school(body.get("school")),
        _school(body.get("tested_school")),
        _assessment(body.get("assessment_id")),
        body.get("status") == "reset",
    )


def waits_for(reason: str, detail: str, about: Subject) -> str | None:
    """The organization or assessment that must become known, or the closed test; None for what waiting cannot help."""
    if reason == Reason.CLOSED:
        return closed_test_in(detail)
    if reason == Reason.UNKNOWN_ASSESSMENT:
        return about.assessment
    if reason != Reason.UNKNOWN_ORGANIZATION:
        return None
    # Under the rule "tested" it is the other school; the detail names the one that was looked for.
    return about.tested_school if about.tested_school and about.tested_school in detail else about.school


def printable(text: str) -> str:
    """The text with everything escaped that could steer a terminal; rejected bytes may come from anybody."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def utc(time_ms: int) -> str:
    """A time for a reader: ``2026-05-02 08:00:00``."""
    return from_microseconds(time_ms * 1000).strftime("%Y-%m-%d %H:%M:%S")


def stamp(time_ms: int) -> str:
    """A time for a program: ``2026-05-02T08:00:00.000Z``."""
    return from_microseconds(time_ms * 1000).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _origin(headers: Mapping[str, bytes], stored: StoredRecord) -> Coordinates:
    here = Coordinates(REJECTED, stored.partition, stored.offset)
    try:
        named = Coordinates(
            headers[rejections.HEADER_TOPIC].decode(),
            int(headers[rejections.HEADER_PARTITION]),
            int(headers[rejections.HEADER_OFFSET]),
        )
    except (KeyError, ValueError):
        return here  # the gateway parks a result before it ever was in the results topic
    return named if named.topic in {EXAM_RESULTS, REJECTED} and min(named[1:]) >= 0 else here


def _text(headers: Mapping[str, bytes], name: str) -> str:
    return printable(headers.get(name, b"").decode(errors="replace"))


def _milliseconds(stamp: bytes, otherwise: int) -> int:
    try:
        moment = datetime.fromisoformat(stamp.decode("ascii")).astimezone(UTC)
    except (ValueError, OverflowError):
        return min(max(otherwise, 0), _LATEST_MS)
    return microseconds(moment) // 1000


def _school(value: object) -> str | None:
    return value if isinstance(value, str) and _SCHOOL.fullmatch(value) else None


def _assessment(value: object) -> str | None:
    return printable(value) if isinstance(value, str) and 0 < len(value) <= _LONGEST_ASSESSMENT else None

"""Which rejected records a command is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cli.moments import moment_ms
from cli.rejected.records import UNNAMED
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationLevel, level_of, organization_id
from schemas.rejections import Reason, coordinates_of


@dataclass(frozen=True, slots=True)
class Selection:
    """All conditions must hold; an empty one holds for every record."""

    reasons: frozenset[str] = frozenset()
    since_ms: int = 0
    partition: int | None = None  # of the results topic
    school: str | None = None  # only records whose body names it
    references: frozenset[str] = frozenset()
    retried: bool = False  # those that were retried, too
    waits_for: str | None = None  # only what waits for this school, assessment or test

    def covers(
        self,
        *,
        reference: str,
        reason: str,
        time_ms: int,
        partition: int | None,
        schools: Iterable[str | None],
    ) -> bool:
        """Whether a record is meant, retried or not. ``partition`` is None for one that never was in the results."""
        return (
            (not self.references or reference in self.references)
            and (not self.reasons or reason in self.reasons)
            and time_ms >= self.since_ms
            and (self.partition is None or partition == self.partition)
            and (self.school is None or self.school in schools)
        )


def selection(
    *,
    reasons: Iterable[str] = (),
    since: str | None = None,
    partition: int | None = None,
    school: str | None = None,
    references: Iterable[str] = (),
    retried: bool = False,
    now: datetime,
) -> Selection:
    """A selection from what was typed.

    Raises:
        InvalidInput: one of the values means nothing; the message names it and what is expected.
    """
    return Selection(
        frozenset(map(_reason, reasons)),
        moment_ms("--since", since, now) if since else 0,
        partition,
        _school(school) if school else None,
        frozenset(coordinates_of(reference).reference for reference in references),
        retried,
    )


def _reason(text: str) -> str:
    known = [*Reason, UNNAMED]
    wanted = text.strip().lower().replace("-", "_")
    if wanted not in known:
        raise InvalidInput(f"'{text[:40]}' is not a reason; expected one of {', '.join(known)}")
    return wanted


def _school(text: str) -> str:
    code = organization_id(text)
    if level_of(code) is not OrganizationLevel.SCHOOL:
        raise InvalidInput(f"{code} is a {level_of(code)}; --school expects the code of a school")
    return code

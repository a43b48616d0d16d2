"""What a subscriber asks for: ``topic=school/<CDS>``, ``district/<CDS>``, ``county/<CDS>``, ``state/<CDS>``; pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from schemas.aggregates import CellField, cell_name
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, OrganizationLevel, grade_from, level_of, organization_id

_LEVELS = tuple(level.value for level in OrganizationLevel)
_YEAR = re.compile(r"20[0-9]{2}|21[0-9]{2}")
_TEST = re.compile(r"[A-Z0-9][A-Z0-9-]{0,39}")


def parse_topics(topics: Sequence[str], most: int) -> tuple[OrganizationId, ...]:
    """The organizations that some topics name, each once, in order.

    Raises:
        InvalidInput: there is none, there are too many, or one is not of the form.
    """
    if not topics:
        raise InvalidInput("no topic is named; ask for at least one, e.g. ?topic=district/19647330000000")
    if len(topics) > most:
        raise InvalidInput(f"{len(topics)} topics are too many; one stream takes up to {most}")
    return tuple(dict.fromkeys(map(_parse_topic, topics)))


def cell_filter(year: str | None, test: str | None, grade: str | None) -> Callable[[CellField], bool]:
    """Which cells a request asks for; what is not said does not narrow.

    Raises:
        InvalidInput: a value is not a school year, test code or grade.
    """
    if year is not None and not _YEAR.fullmatch(year):
        raise InvalidInput(
            f"year is '{year[:40]}'; expected the year in which the school year ends, e.g. 2026"
        )
    if test is not None and not _TEST.fullmatch(test):
        raise InvalidInput(f"test is '{test[:40]}'; expected a test code, e.g. ELA-SUM")
    wanted_grade = None if grade is None else grade_from(grade)

    def wanted(field: CellField) -> bool:
        name = cell_name(field)
        return (
            (year is None or name.school_year == int(year))
            and (test is None or name.test == test)
            and (wanted_grade is None or name.grade == wanted_grade)
        )

    return wanted


def _parse_topic(topic: str) -> OrganizationId:
    level, slash, code = topic.partition("/")
    if not slash or level not in _LEVELS:
        raise InvalidInput(
            f"'{topic[:60]}' is no topic; expected {', '.join(_LEVELS)} and a CDS code, e.g. school/19647331932334"
        )
    organization = organization_id(code)
    named = level_of(organization)
    if named.value != level:
        raise InvalidInput(
            f"'{topic[:60]}' is no topic: {organization} is a {named} code; write {named}/{organization}"
        )
    return organization

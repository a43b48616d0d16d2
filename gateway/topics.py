"""What a subscriber asks for, from text; pure.

A topic is one organization, ``school/<CDS>``, ``district/<CDS>``, ``county/<CDS>`` or ``state/<CDS>``, or a *subtree*:
all organizations of one level below it, as ``district/<CDS>/schools`` or ``state/<CDS>/counties``, without itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from gateway.cell_filter import CellFilter
from schemas.errors import InvalidIdentifier, InvalidInput
from schemas.identifiers import OrganizationId, OrganizationLevel, grade_from, level_of, organization_id

_LEVELS: Final = tuple(level.value for level in OrganizationLevel)
_PLURALS: Final = {
    OrganizationLevel.SCHOOL: "schools",
    OrganizationLevel.DISTRICT: "districts",
    OrganizationLevel.COUNTY: "counties",
}
_LEVELS_BELOW: Final[dict[OrganizationLevel, tuple[OrganizationLevel, ...]]] = {
    OrganizationLevel.STATE: (OrganizationLevel.COUNTY, OrganizationLevel.DISTRICT, OrganizationLevel.SCHOOL),
    OrganizationLevel.COUNTY: (OrganizationLevel.DISTRICT, OrganizationLevel.SCHOOL),
    OrganizationLevel.DISTRICT: (OrganizationLevel.SCHOOL,),
    OrganizationLevel.SCHOOL: (),
}
_YEAR: Final = re.compile(r"20[0-9]{2}|21[0-9]{2}")
_TEST: Final = re.compile(r"[A-Z0-9][A-Z0-9-]{0,39}")
_MILLISECONDS: Final = re.compile(r"[0-9]{1,15}")
_MOMENT: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
# More than there are tests, grades or years; what is remembered of a stream stays small.
_MOST_VALUES: Final = 64

Given = TypeVar("Given")
Parsed = TypeVar("Parsed")


class Topic(NamedTuple):
    """One organization, or those of one level below it."""

    organization: OrganizationId
    below: OrganizationLevel | None = None

    def __str__(self) -> str:
        named = f"{level_of(self.organization)}/{self.organization}"
        return named if self.below is None else f"{named}/{_PLURALS[self.below]}"

    def narrower(self) -> str | None:
        """The form of smaller topics that this one could be asked for by; None when there is none."""
        for level in _LEVELS_BELOW[level_of(self.organization)][:1]:
            if self.below in _LEVELS_BELOW[level]:
                return f"{level}/<CDS>/{_PLURALS[self.below]}"
        return None


def parse_topics(topics: Sequence[str], most: int) -> tuple[Topic, ...]:
    """The topics, each once, in order.

    Raises:
        InvalidInput: there is none, there are too many, or one is not of the form.
    """
    if not topics:
        raise InvalidInput("no topic is named; ask for at least one, e.g. ?topic=district/19647330000000")
    if len(topics) > most:
        raise InvalidInput(
            f"{len(topics)} topics are too many; one stream takes up to {most}. Name a district's schools by one topic, "
            "district/<CDS>/schools, or spread the topics over several streams"
        )
    return tuple(dict.fromkeys(map(_parse_topic, topics)))


def parse_filter(
    *,
    years: Sequence[str | int] | None = None,
    tests: Sequence[str] | None = None,
    grades: Sequence[str] | None = None,
) -> CellFilter:
    """Which cells a request asks for: any of the values of each kind; None does not narrow.

    Raises:
        InvalidInput: a value is not a school year, test code or grade; or a kind has none, or too many.
    """
    return CellFilter(
        years=_values("year", years, _year),
        tests=_values("test", tests, _test),
        grades=_values("grade", grades, grade_from),
    )


def parse_since(text: str) -> int:
    """A moment as milliseconds since 1970, from those or from RFC 3339 text with a zone.

    Raises:
        InvalidInput: it is neither.
    """
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    if _MOMENT.fullmatch(text):
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:
            pass  # the 30th of February
        else:
            return max(0, (moment - _EPOCH) // timedelta(milliseconds=1))
    raise InvalidInput(
        f"since is '{text[:40]}'; expected a time with its zone, e.g. 2026-05-04T12:00:00Z "
        "(a plus sign is written %2B in an address), or milliseconds since 1970"
    )


def _parse_topic(text: str) -> Topic:
    level, _, rest = text.partition("/")
    code, slash, plural = rest.partition("/")
    if level not in _LEVELS:
        raise InvalidInput(
            f"'{text[:60]}' is no topic; expected {', '.join(_LEVELS)} and a CDS code, e.g. school/19647331932334, "
            "or all below it, e.g. district/19647330000000/schools"
        )
    try:
        organization = organization_id(code)
    except InvalidIdentifier as error:
        raise InvalidInput(f"'{text[:60]}' is no topic: {error}") from None
    named = level_of(organization)
    if named.value != level:
        raise InvalidInput(
            f"'{text[:60]}' is no topic: {organization} is a {named} code; write {named}/{organization}"
        )
    if not slash:
        return Topic(organization)
    for below in _LEVELS_BELOW[named]:
        if plural == _PLURALS[below]:
            return Topic(organization, below)
    raise InvalidInput(f"'{text[:60]}' is no topic; {_remedy(Topic(organization))}")


def _remedy(topic: Topic) -> str:
    levels = _LEVELS_BELOW[level_of(topic.organization)]
    if not levels:
        return f"nothing is below a school; write {topic}"
    return "write " + " or ".join(
        str(one) for one in (topic, *(topic._replace(below=level) for level in levels))
    )


def _values(
    kind: str, values: Sequence[Given] | None, parse: Callable[[Given], Parsed]
) -> frozenset[Parsed] | None:
    if values is None:
        return None
    if not values:
        raise InvalidInput(
            f"no {kind} is named; name at least one, or leave the list out to get every {kind}"
        )
    if len(values) > _MOST_VALUES:
        raise InvalidInput(
            f"{len(values)} values of {kind} are too many; name up to {_MOST_VALUES}, or none to get all"
        )
    return frozenset(map(parse, values))


def _year(text: str | int) -> int:
    if not _YEAR.fullmatch(str(text)):
        raise InvalidInput(
            f"year is '{str(text)[:40]}'; expected the year in which the school year ends, e.g. 2026"
        )
    return int(text)


def _test(text: str) -> str:
    if not _TEST.fullmatch(text):
        raise InvalidInput(f"test is '{text[:40]}'; expected a test code, e.g. ELA-SUM")
    return text

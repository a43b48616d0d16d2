"""Identifiers of the domain, as distinct types, and the rules of their form.

An organization is named by its CDS code: 14 digits, county 2 + district 5 + school 7, always text because leading
zeros count. A code whose school part is all zeros is a district, whose district part is too a county, and 14 zeros
are the state. Names are never keys: thirty schools are called Lincoln Elementary.

One county is no part of the state: the canary's (``schemas.canary``), whose results nobody's figures may contain.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NewType

from schemas.errors import InvalidIdentifier

OrganizationId = NewType("OrganizationId", str)  # CDS code, 14 digits
AssessmentId = NewType("AssessmentId", str)  # natural id: Test/@name of the TRT
OpportunityId = NewType("OpportunityId", str)  # unique only together with the assessment id
StudentId = NewType("StudentId", str)  # statewide student identifier: event bodies only
StudentKey = NewType("StudentKey", str)  # its keyed pseudonym: everywhere else
TestCode = NewType("TestCode", str)  # the registry's name of a test, e.g. "ELA-SUM"
Grade = NewType("Grade", str)  # "KG", "01" ... "12"
PartitionId = NewType("PartitionId", int)

STATE: Final = OrganizationId("0" * 14)
# Counties are numbered 01 to 58, 99 is that of published test data, and simulators use 61 to 80.
CANARY_COUNTY: Final = OrganizationId("97" + "0" * 12)
_CANARY_DIGITS: Final = CANARY_COUNTY[:2]
GRADES: Final[tuple[Grade, ...]] = (Grade("KG"), *(Grade(f"{n:02d}") for n in range(1, 13)))
GRADE_NUMBER: Final[dict[Grade, int]] = {grade: number for number, grade in enumerate(GRADES)}

_NUMBERED = frozenset(str(number) for number in range(1, 13))
_CDS = re.compile(r"[0-9]{14}")


class OrganizationLevel(StrEnum):
    """What a CDS code names, from the smallest to the largest."""

    SCHOOL = "school"
    DISTRICT = "district"
    COUNTY = "county"
    STATE = "state"


def organization_id(text: str) -> OrganizationId:
    """A CDS code from text, blanks around it and hyphens within it allowed (``19-64733-0000000``).

    Raises:
        InvalidIdentifier: it is not 14 digits.
    """
    digits = text.strip().replace("-", "")
    if not _CDS.fullmatch(digits):
        raise InvalidIdentifier(
            f"'{text[:40]}' is not a CDS code; expected 14 digits: county 2, district 5, school 7 "
            "(19647330000000 is a district, 19647331932334 a school)"
        )
    return OrganizationId(digits)


def level_of(organization: OrganizationId) -> OrganizationLevel:
    """Which level of the hierarchy a CDS code names."""
    if organization[7:] != "0000000":
        return OrganizationLevel.SCHOOL
    if organization[2:7] != "00000":
        return OrganizationLevel.DISTRICT
    return OrganizationLevel.STATE if organization == STATE else OrganizationLevel.COUNTY


def district_of(organization: OrganizationId) -> OrganizationId:
    """The district that the code of a school (or the district itself) names."""
    return OrganizationId(organization[:7] + "0000000")


def county_of(organization: OrganizationId) -> OrganizationId:
    """The county that a code of a school, district (or the county itself) names."""
    return OrganizationId(organization[:2] + "000000000000")


def ancestry(organization: OrganizationId) -> tuple[OrganizationId, ...]:
    """The organization and all above it, nearest first; a school gives school, district, county, state.

    Codes alone decide: an organization that changes its district changes its code, too. Above the canary's county is nothing:
    everything that adds up, and everything that is granted for the state, goes by this, and so never meets a canary.
    """
    above = () if is_canary(organization) else (STATE,)
    chain = (organization, district_of(organization), county_of(organization), *above)
    return tuple(dict.fromkeys(chain))


def is_canary(organization: str) -> bool:
    """Whether a code is of the canary's county, which no real result may name and no real figure contains."""
    return organization[:2] == _CANARY_DIGITS


def grade_from(text: str) -> Grade:
    """A single grade from the ways it is written: ``4``, ``04``, ``KG``, ``K``.

    Raises:
        InvalidIdentifier: it names no grade from KG to 12 (a span such as ``3-12`` is not one grade).
    """
    stripped = text.strip().upper()
    if stripped in {"KG", "K", "TK", "0", "00"}:
        return GRADES[0]
    # Not int() of whatever was sent: it refuses more than 4,300 digits with an error of its own.
    digits = stripped.lstrip("0")
    if digits in _NUMBERED:
        return GRADES[int(digits)]
    raise InvalidIdentifier(f"'{text[:40]}' is not a grade; expected KG or 1 to 12")

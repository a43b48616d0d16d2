"""A fictional county: districts and schools with invented names, under county numbers that California does not use."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

from schemas.errors import InvalidInput
from schemas.events import OrganizationEntry
from schemas.identifiers import GRADES, STATE, Grade, OrganizationId

LARGEST: Final = 10_000  # schools; the state has about 9,000

# California's counties are numbered 01 to 58, and 99 is the county of published test data.
_FIRST_COUNTY: Final = 61
_COUNTIES: Final = 20
_SCHOOLS_A_DISTRICT: Final = 8
_DISTRICTS_A_COUNTY: Final = 64

_SPANS: Final[dict[str, tuple[Grade, ...]]] = {
    "Elementary": GRADES[:6],
    "Middle": GRADES[6:9],
    "High": GRADES[9:],
}
# The kinds of a district's schools, in order: small districts get a mixture, too.
_KINDS: Final = (
    "Elementary",
    "Middle",
    "High",
    "Elementary",
    "Elementary",
    "Middle",
    "Elementary",
    "Elementary",
)
# Invented compounds; none is the name of a school, district or county in the state's entity files.
# fmt: off
_FIRST_PARTS: Final = (
    "Alder", "Amber", "Ashen", "Bramble", "Briar", "Calder", "Cinder", "Clover", "Copper", "Dapple",
    "Ember", "Fennel", "Fern", "Gorse", "Harrow", "Hazel", "Heather", "Juniper", "Kestrel",
    "Lantern", "Linden", "Marrow", "Mallow", "Nettle", "Otter", "Pebble", "Plover", "Quill",
    "Raven", "Rowan", "Sedge", "Russet", "Saffron", "Sorrel", "Tansy", "Teasel", "Thistle", "Umber",
    "Willet", "Yarrow",
)
_SECOND_PARTS: Final = (
    "barrow", "beck", "brake", "bury", "combe", "croft", "dell", "fold", "garth", "gill", "hithe",
    "holt", "hurst", "ley", "lock", "mere", "moor", "ness", "rigg", "scar", "shaw", "spring",
    "stead", "stow", "thorpe", "thwaite", "wade", "wick", "wold", "worth",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class School:
    """A school, and the grades it teaches."""

    cds: OrganizationId
    grades: tuple[Grade, ...]


@dataclass(frozen=True, slots=True)
class County:
    """The directory of the fictional county (of several, when one is not enough), and its schools by code."""

    entries: list[OrganizationEntry]
    schools: list[School]


def fictional_county(schools: int, seed: int) -> list[OrganizationEntry]:
    """The directory of a county with so many schools, the state and the county first."""
    return plan_county(schools, seed).entries


def plan_county(schools: int, seed: int) -> County:
    """A county with so many schools, about eight a district; several counties from 64 districts on.

    Raises:
        InvalidInput: fewer schools than one, or more than ``LARGEST``.
    """
    if not 1 <= schools <= LARGEST:
        raise InvalidInput(f"--schools is {schools}; expected 1 to {LARGEST}")
    rng = Random(f"county {seed}")
    names = [first + second for first in _FIRST_PARTS for second in _SECOND_PARTS]
    rng.shuffle(names)
    districts = -(-schools // _SCHOOLS_A_DISTRICT)
    counties = -(-districts // _DISTRICTS_A_COUNTY)
    first_county = _FIRST_COUNTY + rng.randrange(_COUNTIES - 1)

    entries = [OrganizationEntry(cds=STATE, name="State of California", kind="state")]
    planned: list[School] = []
    for county in range(counties):
        # With very many schools names repeat, as real ones do: codes are keys.
        county_code = f"{_FIRST_COUNTY + (first_county - _FIRST_COUNTY + county) % _COUNTIES:02d}"
        county_name = f"{names[-1 - county]} County"
        entries.append(OrganizationEntry(cds=county_code + "0" * 12, name=county_name, kind="county"))
        for district in range(county, districts, counties):
            district_code = f"{county_code}{70_001 + district:05d}"
            district_name = f"{names[district % len(names)]} Unified"
            entries.append(
                OrganizationEntry(cds=district_code + "0" * 7, name=district_name, kind="district")
            )
            for number, school in enumerate(range(district, schools, districts)):
                kind = _KINDS[number % len(_KINDS)]
                cds = OrganizationId(f"{district_code}{6_000_001 + school:07d}")
                name = f"{names[(districts + school) % len(names)]} {kind}"
                entries.append(OrganizationEntry(cds=cds, name=name, kind="school"))
                planned.append(School(cds, _SPANS[kind]))
    return County(entries, planned)

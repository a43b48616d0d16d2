"""Small fictional schools for the tests of disclosure control: totals by level, and a family that is told them."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.disclosure.family import Family, Round
from schemas.disclosure.held import NOBODY, Held, held_from
from schemas.identifiers import OrganizationId

HOUR_MS = 3_600_000

DISTRICT = OrganizationId("01000010000000")
ADAMS, BAKER, CLARK, DOYLE = (OrganizationId(f"0100001000000{number}") for number in (1, 2, 3, 4))
COUNTY = OrganizationId("01000000000000")
NEIGHBOUR = OrganizationId("01000020000000")
EVANS, FLORES = (OrganizationId(f"0100002000000{number}") for number in (1, 2))
ELSEWHERE = OrganizationId("02000030000001")
STATE = OrganizationId("0" * 14)


def students(*by_level: int, claims: tuple[int, ...] = ()) -> Held:
    """Totals of so many students in level 1, 2, 3 and 4; all scores of a level are alike."""
    levels = [*by_level, *(0,) * (4 - len(by_level)), *claims]
    return held_from(levels, sum(count * (2300 + 100 * level) for level, count in enumerate(by_level)))


class Told:
    """A family whose schools are told one by one; each round is an hour later."""

    def __init__(self, actual: Mapping[OrganizationId, Held] | None = None) -> None:
        self.family = Family()
        self.actual: dict[OrganizationId, Held] = {}
        self.withheld: dict[OrganizationId, Held] = {}
        self.hour = 0
        if actual:
            self.now(actual)

    def now(self, actual: Mapping[OrganizationId, Held] = {}, *, hours: int = 1) -> Round:
        """One round with these totals changed."""
        self.hour += hours
        self.actual |= actual
        return self.family.publish(self.actual, self.hour * HOUR_MS, self.withheld)

    def withdraw(self, *schools: OrganizationId) -> Round:
        """One round after these schools' release was taken back."""
        self.withheld |= {school: self.actual.pop(school) for school in schools}
        return self.now()

    def release(self, *schools: OrganizationId) -> Round:
        """One round after these schools were released again."""
        return self.now({school: self.withheld.pop(school) for school in schools})

    def shown(self, organization: OrganizationId) -> int | None:
        """Students with scores of what is published; None where nothing or only the mark ``suppressed`` is."""
        return (self.family.published().get(organization) or NOBODY).with_scores or None

    def is_suppressed(self, organization: OrganizationId) -> bool:
        """Whether the organization is published as suppressed; one without results is not published at all."""
        return self.family.published().get(organization, NOBODY) is None

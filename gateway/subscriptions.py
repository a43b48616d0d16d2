"""What one stream watches: its topics and its filter, and which organizations those are at the moment.

A subtree topic follows the directory: what joins is watched from then on. It takes a grant on its root, which covers
everything below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from gateway.cell_filter import ALL_CELLS, CellFilter
from gateway.images import View
from gateway.tokens import Principal
from gateway.topics import Topic, parse_filter, parse_topics
from schemas.access.permissions import Forbidden, VisibilityClass
from schemas.errors import InvalidInput
from schemas.identifiers import GRADE_NUMBER, Grade, OrganizationId
from schemas.organization_list import OrganizationList

Sight = Callable[[OrganizationId], VisibilityClass | None]


@dataclass(frozen=True, slots=True)
class SubscriptionLimits:
    """How much one stream may watch."""

    topics: int = 500  # as written
    organizations: int = 2_000  # that they come to


DEFAULT_LIMITS: Final = SubscriptionLimits()


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one stream watches."""

    topics: tuple[Topic, ...]
    cells: CellFilter = ALL_CELLS
    most_organizations: int = DEFAULT_LIMITS.organizations

    @property
    def follows_directory(self) -> bool:
        """Whether a change of the directory can change the views."""
        return any(topic.below is not None for topic in self.topics)

    def views(self, principal: Principal, organizations: OrganizationList) -> tuple[View, ...]:
        """How each organization is shown to somebody who asks for it now; each once, none when a subtree is empty.

        Raises:
            Forbidden: a topic is not open to them, or its organization does not exist.
            InvalidInput: these are too many organizations for one stream.
        """
        sight = principal.rights.visibility
        if not all(
            # In this order what exists takes no longer to refuse than what does not.
            sight(topic.organization) and topic.organization in organizations
            for topic in self.topics
        ):
            raise Forbidden
        for topic in self.topics:
            # Counted, not listed: a state's schools are thousands of times what it takes to ask for them.
            size = 1 if topic.below is None else organizations.count_below(topic.organization, topic.below)
            if size > self.most_organizations:
                raise InvalidInput(_too_large(topic, size, self.most_organizations))
        views = self._views(sight, organizations, self.most_organizations)
        if len(views) > self.most_organizations:
            raise InvalidInput(
                f"these {len(self.topics)} topics are more than {self.most_organizations} organizations together, the most "
                "that one stream takes; spread them over several streams"
            )
        return views

    def views_now(self, principal: Principal, organizations: OrganizationList) -> tuple[View, ...]:
        """The same for a stream that is open, after the directory changed: what has left it is left out.

        The limit holds at the door: a subtree that outgrows it while it is watched is watched on.
        """
        return self._views(principal.rights.visibility, organizations)

    def open_to(self, principal: Principal) -> bool:
        """Whether somebody's grants cover every topic, so that a stream may go on in their name."""
        sight = principal.rights.visibility
        return all(sight(topic.organization) for topic in self.topics)

    def described(self) -> dict[str, object]:
        """What is watched, as a subscriber is told: in the order of asking, lists of values in their own order."""
        said: dict[str, object] = {"topics": [str(topic) for topic in self.topics]}
        if self.cells.tests is not None:
            said["tests"] = sorted(self.cells.tests)
        if self.cells.grades is not None:
            said["grades"] = sorted(self.cells.grades, key=lambda grade: GRADE_NUMBER[Grade(grade)])
        if self.cells.years is not None:
            said["years"] = sorted(self.cells.years)
        return said

    def _views(
        self, sight: Sight, organizations: OrganizationList, enough: int | None = None
    ) -> tuple[View, ...]:
        """All views; or, when there are more than ``enough``, at least one more than that."""
        found: dict[OrganizationId, View] = {}
        for topic in self.topics:
            shown = sight(topic.organization)
            if shown is None or topic.organization not in organizations:
                continue
            if topic.below is None:
                found[topic.organization] = View(topic.organization, shown, self.cells)
            else:
                for below in organizations.below(topic.organization, topic.below):
                    found[below] = View(below, shown, self.cells)
            if enough is not None and len(found) > enough:
                break
        return tuple(found.values())


class SubscriptionRequest(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A subscription as it is asked for: the body of a change, and what nodes tell each other of it."""

    topics: tuple[str, ...]
    tests: tuple[str, ...] | None = None
    grades: tuple[str, ...] | None = None
    years: tuple[int | str, ...] | None = None

    def subscription(self, limits: SubscriptionLimits) -> Subscription:
        """What it means.

        Raises:
            InvalidInput: a topic or value is not of its form, or there are too many.
        """
        return Subscription(
            parse_topics(self.topics, limits.topics),
            parse_filter(years=self.years, tests=self.tests, grades=self.grades),
            limits.organizations,
        )


def _too_large(topic: Topic, size: int, most: int) -> str:
    narrower = topic.narrower()
    remedy = f"ask for parts of it, {narrower}" if narrower else "name those that matter, one by one"
    return f"{topic} is {size:,} organizations; one stream takes up to {most:,}: {remedy}"

"""What a feed shows of the cells that were read for it: those that its class may see, as it may see them.

Every image of every feed is made here, at the moment in which it is put into the feed, by the release states known then.
So whatever was read before a change of them is shown, or not, by what holds after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain

from gateway.feeds import Feed
from gateway.following import Following, TablesAway
from gateway.images import CellImage, Renderer
from schemas.access.visibility import Rows, Visibility, is_above_districts
from schemas.aggregates import CellField
from schemas.assessments import AssessmentLookup
from schemas.disclosure.published import PublishedCell
from schemas.identifiers import OrganizationId
from schemas.merged_cells import MergedCell
from schemas.organization_list import OrganizationList
from schemas.releases import Releases

Images = dict[CellField, CellImage]


class Showing:
    """The rules of who sees which rows, applied to feeds."""

    def __init__(self, following: Following, renderer: Renderer, assessments: AssessmentLookup) -> None:
        self._following = following
        self._renderer = renderer
        self._assessments = assessments
        self._made: tuple[Releases, OrganizationList, Visibility] | None = None

    @property
    def visibility(self) -> Visibility:
        """What each class sees now.

        Raises:
            TablesAway: release states and directory have not been read yet.
        """
        releases, organizations = self._following.releases, self._following.organizations
        if releases is None or organizations is None:
            raise TablesAway("the release states have not been read yet")
        if self._made is None or self._made[0] is not releases or self._made[1] is not organizations:
            self._made = releases, organizations, Visibility(releases, organizations, self._assessments)
        return self._made[2]

    def stored(self, feed: Feed, cells: Mapping[CellField, MergedCell]) -> Images:
        """Of an organization's own cells, those that are shown as they stand in the tables."""
        visibility, organization = self.visibility, feed.organization
        if is_above_districts(organization):
            return {
                name: self._renderer.image(name, merged)
                for name, merged in cells.items()
                if visibility.rows(feed.visibility, organization, name) is Rows.ALL
            }
        return {
            name: self._renderer.image(name, merged)
            for name, merged in cells.items()
            if visibility.sees(feed.visibility, organization, name)
        }

    def published(self, feed: Feed, cells: Mapping[CellField, PublishedCell]) -> Images:
        """Of an organization's published cells, those whose results are released.

        The publisher publishes no others. But it may be behind, and what was released may have been taken back.
        """
        visibility = self.visibility
        return {
            name: self._renderer.masked_image(name, cell)
            for name, cell in cells.items()
            if visibility.sees(feed.visibility, feed.organization, name)
        }

    def take_shares(
        self, feed: Feed, district: OrganizationId, cells: Mapping[CellField, MergedCell]
    ) -> set[CellField]:
        """Count a district's cells where its rows are seen and others are not; returns the sums that are other now."""
        assert feed.sum is not None
        return {
            name
            for name, merged in cells.items()
            if self.counts(feed, district, name) and feed.sum.take(district, name, merged)
        }

    def counts(self, feed: Feed, district: OrganizationId, name: CellField) -> bool:
        """Whether a district's cell is one of those that are added up for a feed."""
        return district in self._counted(feed, name)

    def added_up(self, feed: Feed, names: Iterable[CellField] | None = None) -> Images:
        """The sums of the named cells; of all without names."""
        if feed.sum is None:
            return {}
        return {
            name: self._renderer.image(name, feed.sum.total(name))
            for name in (feed.sum if names is None else names)
        }

    def missing(self, feed: Feed, names: Iterable[CellField]) -> dict[OrganizationId, list[CellField]]:
        """The districts' cells that must still be read before the sums of the named cells are right."""
        found: dict[OrganizationId, list[CellField]] = {}
        if feed.sum is not None:
            for name in dict.fromkeys(chain(names, feed.sum)):
                for district in feed.sum.missing(name, self._counted(feed, name)):
                    found.setdefault(district, []).append(name)
        return found

    def reopen(self, feed: Feed) -> None:
        """What may be seen has changed: show nothing of the feed until it was read again."""
        feed.reopen()
        if feed.sum is not None:
            feed.sum.keep(lambda name: self._counted(feed, name))

    def _counted(self, feed: Feed, name: CellField) -> AbstractSet[OrganizationId]:
        return self.visibility.districts(feed.visibility, feed.organization, name)

"""What subscribers of one feed get through one filter, encoded once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from gateway.cell_filter import ALL_CELLS, CellFilter
from gateway.images import CellImage, View, patch_fragment, shown_cells, whole_fragment
from schemas.aggregates import CellField

if TYPE_CHECKING:
    from gateway.feeds import Feed
    from gateway.subscriber import Subscriber


class Outlet:
    """One watched view: its subscribers, and its latest bytes."""

    __slots__ = ("_cells", "_whole", "feed", "streams")

    def __init__(self, feed: Feed, cells: CellFilter) -> None:
        self.feed = feed
        self.streams: set[Subscriber] = set()
        self._cells = cells
        self._whole: bytes | None = None

    @property
    def view(self) -> View:
        """What is seen here."""
        return View(self.feed.organization, self.feed.visibility, self._cells)

    def whole(self) -> bytes:
        """Everything that is seen here, as it goes into a put."""
        if self._whole is None:
            self._whole = whole_fragment(self.feed.summary(), shown_cells(self.narrowed(self.feed.images)))
        return self._whole

    def changed_after(self, milliseconds: int) -> bytes | None:
        """What changed after that time, cells that lost their last result included; None when nothing did."""
        images = self.narrowed(self.feed.images)
        cells = {name: image for name, image in images.items() if image.changed_ms > milliseconds}
        return patch_fragment(self.feed.organization, cells) if cells else None

    def latest(self, names: Iterable[CellField]) -> bytes:
        """The named cells as they stand now, as they go into a patch; those that may not be seen any more are left out."""
        images = self.feed.images
        return patch_fragment(
            self.feed.organization, {name: images[name] for name in names if name in images}
        )

    def narrowed(self, cells: Mapping[CellField, CellImage]) -> Mapping[CellField, CellImage]:
        """Those of ``cells`` that are seen here."""
        if self._cells == ALL_CELLS:
            return cells
        return {name: image for name, image in cells.items() if self._cells(name)}

    def forget_bytes(self) -> None:
        """What was encoded is no longer right, or not needed for now."""
        self._whole = None

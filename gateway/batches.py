"""What one tick sends: the changed cells of each view, and the frames made of them; same patches, same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway import sse
from gateway.frames import patch_frame
from gateway.images import CellImage, patch_fragment
from gateway.lines import Chunk
from gateway.outlets import Outlet
from schemas.aggregates import CellField


@dataclass(eq=False, slots=True)
class Patch:
    """The changed cells of one view in one tick."""

    outlet: Outlet
    cells: Mapping[CellField, CellImage]
    _fragment: bytes = b""

    def fragment(self) -> bytes:
        """As it goes into a frame."""
        if not self._fragment:
            self._fragment = patch_fragment(self.outlet.feed.organization, self.cells)
        return self._fragment


Wanted = tuple[tuple[Patch, ...], str, bool]


@dataclass(eq=False, slots=True)
class Batch:
    """One tick: all changes up to ``cursor`` are in it, or were in an earlier one."""

    cursor: sse.Cursor
    stale: bool  # older results are still missing from the tables
    progress: bytes  # the frame that says so
    _chunks: dict[Wanted, Chunk] = field(default_factory=dict)

    def chunk(self, wanted: Wanted) -> Chunk:
        """The frames for a stream that watches these, has this mark, and is due its progress or not."""
        made = self._chunks.get(wanted)
        if made is None:
            patches, mark, progress = wanted
            frame = patch_frame(
                [patch.fragment() for patch in patches], self.cursor.marked(mark), stale=self.stale
            )
            made = self._chunks[wanted] = Chunk(frame + self.progress if progress else frame)
        return made

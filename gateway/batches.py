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


@dataclass(eq=False, slots=True)
class Batch:
    """One tick: all changes up to ``cursor`` are in it, or were in an earlier one.

    Attributes:
        stale: older results are still missing from the tables.
        progress: the frame that says so.
        now: the wheel's turn.
        progress_due: who was told the progress in this turn or before is told again.
    """

    cursor: sse.Cursor
    stale: bool
    progress: bytes
    now: int
    progress_due: int
    _chunks: dict[tuple[tuple[Patch, ...], str, bool], Chunk] = field(default_factory=dict)
    # The chunk that was asked for last: most streams of a tick get the same.
    _patches: tuple[Patch, ...] = ()
    _mark: str = ""
    _with_progress: bool = False
    _latest: Chunk | None = None

    def chunk(self, patches: tuple[Patch, ...], mark: str, progress: bool) -> Chunk:
        """The frames for a stream that watches these, has this mark, and is due its progress or not."""
        latest = self._latest
        if (
            latest is not None
            and patches is self._patches
            and mark == self._mark
            and progress is self._with_progress
        ):
            return latest
        wanted = (patches, mark, progress)
        made = self._chunks.get(wanted)
        if made is None:
            frame = patch_frame(
                [patch.fragment() for patch in patches], self.cursor.marked(mark), stale=self.stale
            )
            made = self._chunks[wanted] = Chunk(frame + self.progress if progress else frame)
        self._patches, self._mark, self._with_progress, self._latest = patches, mark, progress, made
        return made

"""Whether a file is still the one that was read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class FileStamp(NamedTuple):
    """What changes when a file is written or replaced. The inode tells two of the same size in one tick of the clock."""

    modified_ns: int
    size: int
    inode: int


def stamp_of(path: Path) -> FileStamp:
    """The stamp of a file as it is now. Take it before reading: what is written meanwhile then counts as a change.

    Raises:
        OSError: there is no such file, or it may not be looked at.
    """
    stat = path.stat()
    return FileStamp(stat.st_mtime_ns, stat.st_size, stat.st_ino)

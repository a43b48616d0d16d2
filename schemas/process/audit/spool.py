"""The audit's files: one chain a process, in segments, appended to and never changed.

    <chain>.lock                 held by the process that writes the chain, or that ships what another left
    <chain>.<first number>.jsonl entries, one a line, from that number on
    <chain>.position             how far Kafka has them
    <chain>.continued            a later chain has taken this one's end into its first entry

A line that has no end was being written when the machine or process stopped. It was never acknowledged to anybody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import msgspec
from msgspec import Struct

from schemas.audit import NO_HASH, Broken, Head, read_entry
from schemas.errors import InvalidInput

_SEGMENT: Final = re.compile(
    r"(?P<chain>[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9_-]{1,32})\.(?P<first>[0-9]{12})\.jsonl"
)
_TAIL_BYTES: Final = 4 * 1024 * 1024  # more than the longest entry


class Position(Struct, frozen=True):
    """Up to where a chain is in Kafka: the next byte of the segment that begins with entry ``segment``."""

    segment: int = 1
    offset: int = 0


class ChainLock:
    """Says that a chain has somebody who writes or ships it; the system lets go of it when the process ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, folder: Path, name: str) -> Self | None:
        """The lock, or None when another process has it."""
        descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        """Let go of it."""
        os.close(self._descriptor)


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """One process at a time looks for chains that ended, so that each is taken over once."""
    descriptor = os.open(folder / "folder.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def prepare(folder: Path) -> None:
    """Make the folder, readable by nobody else.

    Raises:
        InvalidInput: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InvalidInput(
            f"SCORES_AUDIT_DIR '{folder}' cannot be written ({error.strerror}); name a folder on a disk that outlives "
            "the process, writable by it"
        ) from None


def segment_path(folder: Path, chain: str, first: int) -> Path:
    """Where entries from this number on are."""
    return folder / f"{chain}.{first:012d}.jsonl"


def segments(folder: Path) -> dict[str, list[int]]:
    """Every chain in the folder, with the first numbers of its segments in order."""
    found: dict[str, list[int]] = {}
    for path in folder.iterdir():
        match = _SEGMENT.fullmatch(path.name)
        if match is not None:
            found.setdefault(match["chain"], []).append(int(match["first"]))
    return {chain: sorted(firsts) for chain, firsts in sorted(found.items())}


def head_of(folder: Path, chain: str, firsts: list[int]) -> Head:
    """The newest whole entry of a chain that nobody writes any more."""
    for first in reversed(firsts):
        with segment_path(folder, chain, first).open("rb") as segment:
            segment.seek(max(0, segment.seek(0, os.SEEK_END) - _TAIL_BYTES))
            for line in reversed(segment.read().split(b"\n")[:-1]):
                with contextlib.suppress(Broken):
                    entry = read_entry(line)
                    return Head(chain, entry.number, entry.hash)
    return Head(chain, 0, NO_HASH)


def whole_lines(path: Path, offset: int, most_bytes: int) -> list[bytes]:
    """The lines from there on, without their ends; a line that is still being written is left for later.

    Always at least one line when one is there, however long.
    """
    with path.open("rb") as segment:
        segment.seek(offset)
        data = segment.read(most_bytes)
        end = data.rfind(b"\n")
        if end < 0 and len(data) == most_bytes:
            data += segment.readline()
            end = data.rfind(b"\n")
    return data[:end].split(b"\n") if end >= 0 else []


def read_position(folder: Path, chain: str, firsts: list[int]) -> Position:
    """Up to where the chain is in Kafka; its beginning when that is not known."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((folder / f"{chain}.position").read_bytes(), type=Position)
    return Position(segment=firsts[0] if firsts else 1)


def write_position(folder: Path, chain: str, position: Position) -> None:
    """Remember it; a position that is lost costs repeated records, which readers know to pass over."""
    file = folder / f"{chain}.position"
    fresh = file.with_suffix(".position-new")
    fresh.write_bytes(msgspec.json.encode(position))
    fresh.replace(file)


def is_continued(folder: Path, chain: str) -> bool:
    """Whether a later chain has named this one's end."""
    return (folder / f"{chain}.continued").exists()


def mark_continued(folder: Path, chain: str) -> None:
    """A later chain has named this one's end."""
    (folder / f"{chain}.continued").touch(mode=0o600)


def remove(folder: Path, chain: str) -> None:
    """Remove what remains of a chain whose segments are gone."""
    for kind in ("position", "continued", "lock"):
        (folder / f"{chain}.{kind}").unlink(missing_ok=True)

"""Writes one chain of entries to its segments."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from schemas.audit import NO_HASH, AuditEvent, Broken, Head, entry_bytes, read_entry
from schemas.process.audit.spool import segment_path

logger = logging.getLogger(__name__)

_LARGEST_BYTES: Final = 900_000  # Kafka takes a megabyte; one that it refuses would hold up all that follow
_OPEN: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC


class ChainFile:
    """The newest segment of a chain. Used by one thread, but for ``sync``.

    An entry is numbered and hashed once. When the disk takes none, or a part of one, the bytes that are left are the first
    to be written later: so the file never has a gap, and the chain never has two entries of one number.
    """

    def __init__(self, folder: Path, chain: str, *, segment_bytes: int) -> None:
        self._folder = folder
        self._chain = chain
        self._segment_bytes = segment_bytes
        self._number = 0
        self._hash = NO_HASH
        self._left = bytearray()
        self._written = Head(chain, 0, NO_HASH)
        self._size = 0
        self._descriptor: int | None = None
        self._changing = threading.Lock()

    @property
    def head(self) -> Head:
        """The newest entry that is written; from any thread."""
        return self._written

    def append(self, events: Iterable[tuple[int, AuditEvent]]) -> None:
        """Chain these, each with its time, and write them.

        Raises:
            OSError: not all could be written; ``flush`` goes on with what is left.
        """
        for at_ms, event in events:
            line, digest = self._entry(at_ms, event)
            self._number, self._hash = self._number + 1, digest
            self._left += line
            self._left += b"\n"
        self.flush()

    def flush(self) -> None:
        """Write what is left.

        Raises:
            OSError: the disk is full, or gone.
        """
        while self._left:
            written = os.write(self._opened(), self._left)
            del self._left[:written]
            self._size += written
        if self._written.number != self._number:
            self._written = Head(self._chain, self._number, self._hash)
        if self._size >= self._segment_bytes:
            self.close()

    def sync(self) -> None:
        """Have the disk keep what was written, against a loss of power; from any thread.

        Raises:
            OSError: the disk does not.
        """
        with self._changing:
            if self._descriptor is None:
                return
            descriptor = os.dup(self._descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """End the segment; the next entry begins another."""
        self.sync()
        with self._changing:
            if self._descriptor is not None:
                os.close(self._descriptor)
            self._descriptor = None
            self._size = 0

    def _entry(self, at_ms: int, event: AuditEvent) -> tuple[bytes, str]:
        """The next entry; that something happened is kept even of an event that cannot be written, read or shipped."""
        number = self._number + 1
        try:
            line, digest = entry_bytes(self._chain, number, at_ms, event, self._hash)
            read_entry(line)
            fault = "too large" if len(line) > _LARGEST_BYTES else None
        except (Broken, ValueError, TypeError, OverflowError):
            # Half a character, which some senders write into their JSON; or a fault of ours in making the event.
            fault = "not text, or of another type"
        if fault is None:
            return line, digest
        logger.error("an audit event could not be written as it was kind=%s fault=%s", event.kind, fault)
        plain = AuditEvent(kind=event.kind, detail=f"what was to be said here is {fault}")
        return entry_bytes(self._chain, number, at_ms, plain, self._hash)

    def _opened(self) -> int:
        if self._descriptor is None:
            first = self._number - self._left.count(b"\n") + 1
            path = segment_path(self._folder, self._chain, first)
            with self._changing:
                self._descriptor = os.open(path, _OPEN, 0o600)
        return self._descriptor

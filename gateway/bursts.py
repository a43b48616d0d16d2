"""Writing to many lines at once: what a tick sends leaves together, where kernel and connection allow that."""

from __future__ import annotations

import logging
from typing import Final

from gateway.lines import NO_DESCRIPTOR, Chunk, Line
from gateway.ring import SENDS_AT_ONCE, Ring, RingUnavailable

logger = logging.getLogger(__name__)

AT_ONCE: Final = SENDS_AT_ONCE  # about two milliseconds of writing, after which others have their turn


class Burst:
    """Takes chunks for lines, and has given all to them when it is flushed. Nothing else may happen in between."""

    def __init__(self, ring: Ring | None = None) -> None:
        """Without a ring each line is written to at once."""
        self._ring = ring
        self._chunk: Chunk | None = None  # of all that are collected
        self._lines: list[Line] = []
        self._descriptors: list[int] = []

    def write(self, line: Line, chunk: Chunk) -> None:
        """Send this on a line; at most ``AT_ONCE`` between two flushes."""
        descriptor = line.descriptor
        if descriptor == NO_DESCRIPTOR or self._ring is None:
            line.write(chunk)
            return
        if chunk is not self._chunk:
            self.flush()
            self._chunk = chunk
        self._lines.append(line)
        self._descriptors.append(descriptor)

    def flush(self) -> None:
        """Whatever was written has been given to the kernel, or to the line that keeps it until the kernel takes it."""
        chunk, lines, descriptors = self._chunk, self._lines, self._descriptors
        if chunk is None or self._ring is None:
            return
        self._chunk, self._lines, self._descriptors = None, [], []
        for number, sent in self._ring.send(descriptors, chunk.framed):
            lines[number].write_on(chunk, sent)

    def close(self) -> None:
        """Nothing more will be written."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None


def best_burst(wanted: bool = True) -> Burst:
    """One that hands over many writes together, if that is wanted and can be had here."""
    if wanted:
        try:
            return Burst(Ring())
        except (RingUnavailable, OSError, ValueError) as error:
            logger.info("each stream is written to by a system call of its own: %s", error)
    return Burst()

"""Writing to many lines at once: what a tick sends leaves together, where kernel and connection allow that."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from gateway.lines import NO_DESCRIPTOR, Chunk, Line
from gateway.ring import SENDS_AT_ONCE, Ring, RingUnavailable

logger = logging.getLogger(__name__)

AT_ONCE: Final = SENDS_AT_ONCE  # about two milliseconds of writing, after which others have their turn


class _Recipients(NamedTuple):
    """Who gets one chunk: lines, and beside each its descriptor."""

    lines: list[Line]
    descriptors: list[int]


class Burst:
    """Takes chunks for lines, and has given all to them when it is flushed. Nothing else may happen in between."""

    def __init__(self, ring: Ring | None = None) -> None:
        """Without a ring each line is written to at once."""
        self._ring = ring
        # By chunk, since streams that get the same come in any order: some with the progress, some without.
        self._collected: dict[Chunk, _Recipients] = {}

    def write(self, line: Line, chunk: Chunk) -> None:
        """Send this on a line, to which nothing else was written since the last flush; at most ``AT_ONCE`` between two."""
        descriptor = line.descriptor
        if descriptor == NO_DESCRIPTOR or self._ring is None:
            line.write(chunk)
            return
        recipients = self._collected.get(chunk)
        if recipients is None:
            recipients = self._collected[chunk] = _Recipients([], [])
        recipients.lines.append(line)
        recipients.descriptors.append(descriptor)

    def flush(self) -> None:
        """Whatever was written has been given to the kernel, or to the line that keeps it until the kernel takes it."""
        if self._ring is None:
            return
        collected, self._collected = self._collected, {}
        for chunk, (lines, descriptors) in collected.items():
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

"""Many samples as few points: the highest figure of each step, so that no peak is lost between two pixels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schemas.operations import Sample


class Condensing:
    """Takes the samples of a stretch of time, in any order, and forgets each at once.

    Args:
        start_ms: the beginning of the first step.
        steps: how many steps follow; a later sample counts in the last one, for the clocks of two machines differ.
    """

    def __init__(self, start_ms: int, step_ms: int, steps: int) -> None:
        self.at = [start_ms + step_ms * number for number in range(steps)]
        self.series: dict[str, list[float | None]] = {}
        self._start_ms, self._step_ms, self._steps = start_ms, step_ms, steps

    def take(self, samples: Iterable[Sample]) -> None:
        """Count these samples in."""
        for sample in samples:
            step = min((sample.at_ms - self._start_ms) // self._step_ms, self._steps - 1)
            if step >= 0:
                for name, figure in sample.figures.items():
                    self._count(name, step, figure)

    def _count(self, name: str, step: int, figure: float) -> None:
        points = self.series.get(name)
        if points is None:
            points = self.series[name] = [None] * self._steps
        known = points[step]
        points[step] = figure if known is None else max(known, figure)

    def __iter__(self) -> Iterator[tuple[str, list[float | None]]]:
        return iter(sorted(self.series.items()))

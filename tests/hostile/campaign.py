"""Many inputs in several processes, watched: what kills a process is one failure more, and the rest is still checked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Final

import msgspec

from hostile import inputs
from hostile.inputs import Kind
from hostile.runner import INPUT_CPU_SECONDS, WINDOW, Progress, make_input, read_beat

FAILURES_AT_MOST: Final = 20  # of one process; then it stops

_TESTS: Final = Path(__file__).parents[1]
_decode_progress: Final = msgspec.json.Decoder(Progress).decode


@dataclass(frozen=True, slots=True)
class Campaign:
    """Which inputs, and how they are run."""

    kind: Kind
    count: int
    seed: int
    jobs: int = 2
    first: int = 0
    checks: str | None = (
        None  # other checks than the usual, "module:factory"; to see that failures are noticed
    )
    on_progress: Callable[[Progress], None] = field(default=lambda part: None)

    def run(self) -> Progress:
        """Check all; one process more or less makes no difference to the result."""
        windows = -(-self.count // WINDOW)
        cuts = [self.first + windows * job // self.jobs * WINDOW for job in range(self.jobs + 1)]
        cuts[-1] = self.first + self.count
        total = Progress()
        with TemporaryDirectory() as folder, ThreadPoolExecutor(self.jobs) as pool:
            stretches = [range(start, stop) for start, stop in pairwise(cuts) if start < stop]
            beats = [Path(folder, str(job)) for job in range(len(stretches))]
            for part in pool.map(self._run_stretch, stretches, beats):
                total.add(part)
        return total

    def _run_stretch(self, numbers: range, beat: Path) -> Progress:
        total = Progress()
        start = numbers.start
        while start < numbers.stop and len(total.failures) < FAILURES_AT_MOST:
            start, died = self._run_process(start, numbers.stop, beat, total)
            if died:
                total.failures.append((start, died))
                # Windows begin where they always do; what was left of this one is not checked.
                start = start - start % WINDOW + WINDOW
        return total

    def _run_process(self, start: int, stop: int, beat: Path, total: Progress) -> tuple[int, str]:
        """Where it ended, and what it died of."""
        beat.unlink(missing_ok=True)
        arguments = [self.kind, str(self.seed), str(start), str(stop), str(beat)]
        with (
            TemporaryFile() as errors,
            subprocess.Popen(
                [sys.executable, "-m", "hostile.runner", *arguments, *([self.checks] if self.checks else [])],
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=_TESTS,
                env={**os.environ, "PYTHONPATH": str(_TESTS)},
            ) as process,
        ):
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    part = _decode_progress(line)
                    total.add(part)
                    self.on_progress(part)
                    if len(total.failures) >= FAILURES_AT_MOST:
                        return stop, ""
                if process.wait() == 0:
                    return stop, ""
            finally:
                process.kill()  # it has ended, or is not needed any more
            errors.seek(0)
            said = errors.read().decode(errors="replace")[-2000:]
        if not beat.exists():
            raise RuntimeError(f"hostile.runner did not start: {said}")
        return read_beat(beat), _cause(process.returncode, said)


def save_failures(campaign: Campaign, progress: Progress, folder: Path) -> list[tuple[Path, str]]:
    """Write each failing input into ``folder``; the files, and what went wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    for number, what in progress.failures:
        given = make_input(campaign.kind, campaign.seed, number)
        path = folder / f"{campaign.kind}-{campaign.seed}-{number}{inputs.suffix(campaign.kind)}"
        inputs.save(given, path)
        saved.append((path, what))
    return saved


def _cause(code: int, said: str) -> str:
    if code == -signal.SIGPROF:
        return f"no end within {INPUT_CPU_SECONDS:g} s of CPU time: a hang"
    if code < 0:
        return f"the process was killed by {signal.Signals(-code).name}: {said}"
    return f"the process ended with {code}: {said}"

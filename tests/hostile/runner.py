"""One process that takes a stretch of inputs: it reports what became of them, and dies of an input that hangs.

    python -m hostile.runner KIND SEED START STOP BEAT [CHECKS]

Reports are lines of JSON on standard output. ``BEAT`` is a file in which the number of the input under check always
stands, so that whoever started this process knows which one killed it.
"""

from __future__ import annotations

import logging
import mmap
import resource
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol
from zlib import crc32

import msgspec
from msgspec import Struct, field

from hostile.event_checks import EventCheck
from hostile.event_mutations import event_input
from hostile.import_checks import ImportCheck, RequestCheck
from hostile.inputs import Input, Kind
from hostile.report_mutations import report_input
from hostile.request_mutations import request_input
from hostile.stream_checks import StreamCheck
from hostile.stream_mutations import stream_input

# Inputs whose joint effect is looked at at once. A stretch begins at a multiple of it, so the result does not depend on how
# many processes share the work.
WINDOW: Final = 250
INPUT_CPU_SECONDS: Final = 20.0  # the slowest take half a second; then the process is killed
_MEMORY_BYTES: Final = 2 << 30  # of address space beyond what the process has when it begins
_WARM_UP: Final = 2 * WINDOW  # inputs, before memory is measured: caches fill
_BEAT: Final = struct.Struct("<Q")


class Progress(Struct):
    """What became of some inputs; ``add`` adds up."""

    inputs: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)  # number of the input, and what went wrong
    verdicts: dict[str, dict[str, int]] = field(default_factory=dict)  # how many of each, by origin
    digest: int = 0  # of all verdicts, whatever their order
    cpu_seconds: float = 0.0
    slowest_seconds: float = 0.0  # CPU time
    slowest: int = 0
    memory_growth: int = 0  # bytes, at its peak, since the caches were filled

    def add(self, other: Progress) -> None:
        """Add another process's, or a later part."""
        self.inputs += other.inputs
        self.failures += other.failures
        for origin, verdicts in other.verdicts.items():
            for verdict, number in verdicts.items():
                self.count(origin, verdict, number)
        self.digest = (self.digest + other.digest) % (1 << 64)
        self.cpu_seconds += other.cpu_seconds
        if other.slowest_seconds > self.slowest_seconds:
            self.slowest_seconds, self.slowest = other.slowest_seconds, other.slowest
        self.memory_growth = max(self.memory_growth, other.memory_growth)

    def count(self, origin: str, verdict: str, number: int = 1) -> None:
        """Add to what became of the inputs of one origin."""
        verdicts = self.verdicts.setdefault(origin, {})
        verdicts[verdict] = verdicts.get(verdict, 0) + number


class Check(Protocol):
    """Judges inputs; ``finish`` comes after each window."""

    def check(self, given: Input) -> str: ...
    def finish(self) -> None: ...


def make_input(kind: Kind, seed: int, number: int) -> Input:
    """The input with this number; a function of its arguments and of the reference data, where there is any."""
    return _MUTATORS[kind](seed, number)


@contextmanager
def checking(kind: Kind) -> Iterator[Check]:
    """The checks for a kind of input."""
    logging.disable(logging.CRITICAL)  # an input that is refused is nothing to warn of here
    try:
        if kind is Kind.EVENT:
            yield EventCheck()
        elif kind is Kind.REPORT:
            yield _Each(ImportCheck().check)
        elif kind is Kind.REQUEST:
            with RequestCheck() as requests:
                yield _Each(requests.check)
        else:
            with StreamCheck() as streams:
                yield _Each(streams.check)
    finally:
        logging.disable(logging.NOTSET)


class _Each:
    """Inputs that have nothing to do with one another."""

    def __init__(self, check: Callable[[Input], str]) -> None:
        self.check = check

    def finish(self) -> None:
        """Nothing is left to look at."""


_MUTATORS: Final[dict[Kind, Callable[[int, int], Input]]] = {
    Kind.EVENT: event_input,
    Kind.REPORT: report_input,
    Kind.REQUEST: request_input,
    Kind.STREAM: stream_input,
}


def run(
    check: Check, kind: Kind, seed: int, numbers: range, beat: mmap.mmap, report: Callable[[Progress], None]
) -> None:
    """Check a stretch of inputs, and report after each window."""
    baseline = 0
    for start in range(numbers.start, numbers.stop, WINDOW):
        part = Progress()
        for number in range(start, min(start + WINDOW, numbers.stop)):
            _BEAT.pack_into(beat, 0, number)
            signal.setitimer(signal.ITIMER_PROF, INPUT_CPU_SECONDS)
            given = make_input(kind, seed, number)
            begun = time.process_time()
            try:
                verdict = check.check(given)
            except Exception:  # noqa: BLE001 - whatever an input brings about is what we are looking for
                verdict = "failed"
                part.failures.append((number, traceback.format_exc(limit=-6)))
            seconds = time.process_time() - begun
            part.inputs += 1
            part.cpu_seconds += seconds
            if seconds > part.slowest_seconds:
                part.slowest_seconds, part.slowest = seconds, number
            part.count(given.origin, verdict)
            part.digest = (part.digest + crc32(f"{number} {verdict}".encode()) ** 2) % (1 << 64)
        try:
            signal.setitimer(signal.ITIMER_PROF, INPUT_CPU_SECONDS)
            check.finish()
        except Exception:  # noqa: BLE001 - as above
            part.failures.append((start, f"at the end of the window: {traceback.format_exc(limit=-6)}"))
        if start - numbers.start < _WARM_UP:
            baseline = _peak_bytes()
        part.memory_growth = _peak_bytes() - baseline
        report(part)
    signal.setitimer(signal.ITIMER_PROF, 0)


def open_beat(path: Path) -> mmap.mmap:
    """The file in which the number of the input under check stands."""
    if not path.exists():
        path.write_bytes(_BEAT.pack(0))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _BEAT.size)


def read_beat(path: Path) -> int:
    """The number that stands there."""
    number: int = _BEAT.unpack(path.read_bytes())[0]
    return number


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _bound_memory() -> None:
    if sys.platform == "linux":  # elsewhere the limit is not kept
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY_BYTES,) * 2)


def main(arguments: list[str]) -> None:
    """What the module says."""
    kind, seed, start, stop, beat, *factory = arguments
    # Killed in the midst of it, whatever it is: a handler in Python would have to wait for the C code that hangs.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    module, _, name = (factory[0] if factory else "hostile.runner:checking").partition(":")
    make = getattr(import_module(module), name)
    with make(Kind(kind)) as check:
        _bound_memory()

        def report(part: Progress) -> None:
            sys.stdout.buffer.write(msgspec.json.encode(part) + b"\n")
            sys.stdout.buffer.flush()

        run(check, Kind(kind), int(seed), range(int(start), int(stop)), open_beat(Path(beat)), report)


if __name__ == "__main__":
    main(sys.argv[1:])

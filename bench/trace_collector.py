"""A collector of traces in a process of its own, so that what it takes is not counted as ours."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from schemas.tracing import TracingSettings
from tests.otlp_receiver import OtlpReceiver


class Collector:
    """One that runs, and where it is."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        endpoint: str = pipe.recv()
        self.settings = TracingSettings(endpoint)

    def taken(self) -> Counter[str]:
        """How many spans it has taken since it was last asked, by name."""
        self._pipe.send(None)
        found: Counter[str] = self._pipe.recv()
        return found


@contextmanager
def collector() -> Iterator[Collector]:
    """A collector on this machine."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_collect, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Collector(pipe)
    finally:
        pipe.close()
        process.join()


def _collect(pipe: Connection) -> None:
    receiver = OtlpReceiver()
    pipe.send(receiver.endpoint)
    try:
        while True:
            pipe.recv()
            spans, receiver.spans = receiver.spans, []
            pipe.send(Counter(span.name for span in spans))
    except EOFError:
        receiver.close()

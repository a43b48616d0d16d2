"""What traces cost a gateway: the same ticks to the same streams, with and without the call that tells of a tick's end.

The tables are in memory and lines take whatever they are given, so that nothing else is in the figures: over real sockets a tick takes
longer, and the same call has a smaller share.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from enum import Enum
from types import ModuleType
from typing import Any, Final
from unittest import mock

import gateway.hub
import gateway.ticking
from gateway.hub import Hub
from gateway.lines import NO_DESCRIPTOR, Chunk
from gateway.metrics import Metrics
from gateway.stream import Stream, StreamLimits
from gateway.subscriptions import DEFAULT_LIMITS, SubscriptionRequest
from gateway.tables import NoticeKeys, Notices
from gateway.ticking import nobody_told
from gateway.trace_wiring import gateway_tracing
from schemas.assessments import load_registry
from schemas.tracing import TracingSettings
from tests.fake_tables import SCHOOL, FakeTables, principal, until

_BEGIN_SECONDS: Final = 60.0
_CALL: Final = "_ended"


class Way(Enum):
    """How ticks are made."""

    WITHOUT = "without the call"
    OFF = "off"
    ON = "on"


class _Tables(FakeTables):
    """Tables whose partition also says where it stands in its log, as a worker's does."""

    async def read_notices(self, followed: Sequence[tuple[NoticeKeys, bytes | None]]) -> list[Notices]:
        return [read._replace(next_offset=self.now_ms) for read in await super().read_notices(followed)]


class _Arrivals:
    """Counts what reaches the lines, and says when all have it."""

    def __init__(self) -> None:
        self._missing = 0
        self._there = asyncio.Event()

    def expect(self, writes: int) -> None:
        """From now on; what came before does not count."""
        self._missing = writes
        self._there.clear()

    def came(self) -> None:
        """One write."""
        self._missing -= 1
        if not self._missing:
            self._there.set()

    async def wait(self) -> None:
        """Return when all have come."""
        async with asyncio.timeout(_BEGIN_SECONDS):
            await self._there.wait()


class _Line:
    """Takes everything, and keeps nothing."""

    descriptor = NO_DESCRIPTOR

    def __init__(self, arrivals: _Arrivals) -> None:
        self._arrivals = arrivals
        self.put = False

    def write_on(self, chunk: Chunk, sent: int) -> None:
        raise AssertionError("nothing was sent straight to a socket")

    def write(self, chunk: Chunk) -> None:
        if b"event: patch\n" in chunk.raw:
            self._arrivals.came()
        elif b"event: put\n" in chunk.raw:
            self.put = True

    def unsent(self) -> bool:
        return False

    def end(self) -> None:
        pass

    def reset(self) -> None:
        pass


def ticked(way: Way, streams: int, ticks: int, tracing: TracingSettings) -> float:
    """So many ticks, each to so many streams; returns this process's CPU seconds, the sending of spans included."""
    wiring = gateway_tracing(tracing if way is Way.ON else TracingSettings())
    ticker = (
        mock.patch.object(gateway.hub, "Ticker", ticker_without()) if way is Way.WITHOUT else nullcontext()
    )
    with ticker:
        return asyncio.run(_ticked(streams, ticks, wiring.tick_ended, wiring.stop))


async def _ticked(
    streams: int, ticks: int, ended: gateway.ticking.TickEnded, stop: Callable[[], None]
) -> float:
    tables, metrics = _Tables(), Metrics()
    hub = Hub(
        tables,  # type: ignore[arg-type]  # a fake of what reads Redis
        load_registry().at,
        metrics,
        tick_seconds=0,
        tick_ended=ended,
    )
    running = asyncio.create_task(hub.run())
    try:
        arrivals = _Arrivals()
        tables.apply(SCHOOL)
        await until(lambda: hub.cursor is not None, _BEGIN_SECONDS)
        lines = [_opened(hub, metrics, arrivals) for _ in range(streams)]
        await until(lambda: all(line.put for line in lines), _BEGIN_SECONDS)
        began = time.process_time()
        for _ in range(ticks):
            arrivals.expect(streams)
            tables.apply(SCHOOL)
            await arrivals.wait()
        stop()
        return time.process_time() - began
    finally:
        running.cancel()
        await asyncio.wait({running})
        stop()


def _opened(hub: Hub, metrics: Metrics, arrivals: _Arrivals) -> _Line:
    line = _Line(arrivals)
    stream = Stream(
        hub=hub,
        subscription=SubscriptionRequest((f"school/{SCHOOL}",)).subscription(DEFAULT_LIMITS),
        principal=principal(),
        limits=StreamLimits(),
        metrics=metrics,
        stream_id="bench.stream",
    )
    stream.start(line)
    return line


def ticker_without() -> type[Any]:
    """The ticker as it would be if nobody had ever thought of traces: its own source, less that one call."""
    tree = ast.parse(inspect.getsource(gateway.ticking))
    cut = _Cut()
    cut.visit(tree)
    if cut.removed != 1:
        raise SystemExit(
            f"gateway.ticking calls {_CALL} in {cut.removed} places; expected 1, see bench.traced_ticks"
        )
    module = ModuleType("bench.ticking_without_traces")
    exec(compile(ast.fix_missing_locations(tree), module.__name__, "exec"), module.__dict__)  # noqa: S102 (the source is ours)
    found: type[Any] = module.__dict__["Ticker"]
    return found


class _Cut(ast.NodeTransformer):
    """Takes out every statement that is nothing but the call."""

    def __init__(self) -> None:
        self.removed = 0

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        call = node.value
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == _CALL:
            self.removed += 1
            return None
        return node


def call_ns(times: int = 200_000) -> float:
    """Nanoseconds that the call alone takes of a tick when there are no traces."""
    began = time.perf_counter_ns()
    for _ in range(times):
        pass
    empty = time.perf_counter_ns() - began
    applied: dict[int, int] = {}
    began = time.perf_counter_ns()
    for _ in range(times):
        nobody_told(applied, time.monotonic() - 0.0, 1, 1)
    return (time.perf_counter_ns() - began - empty) / times

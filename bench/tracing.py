"""What do traces cost: a worker that applies results, and a gateway that tells streams of changes?

    python -m bench.tracing [--events 50000] [--batch 5000 100] [--streams 1000] [--ticks 200] [--runs 9]

Each way of doing it once within each run, in turn forwards and backwards: without the call at all (the same code as it would be if nobody
had thought of traces), with traces off, which is the default, and with traces on, to a collector on this machine in a
process of its own. On a machine whose load changes, what is compared is CPU time of the process, its thread that sends spans
included; ratios are of the same run. "On" is the worst case: every result comes of an import of its own that is recorded, so that each batch
has its span with all the links that it may have.

The worker applies to tables in Redis (the embedded server), through everything that is behind Kafka. The gateway's tables are
in memory, and its lines go nowhere. Spans that were lost on the way end it with exit status 1: they would have cost nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final, TypeVar

from opentelemetry.trace import SpanKind

from bench import traced_batches, traced_ticks
from bench.measuring import spread, table
from bench.trace_collector import Collector, collector
from bench.traced_batches import Batches, applied
from bench.traced_ticks import ticked
from cli.stack.redis_server import EmbeddedRedis
from schemas.process.spans import Spans

_SPANS: Final = 2_000  # fewer than wait in memory, so that none is dropped

Way = TypeVar("Way", bound=Enum)


def main() -> int:
    """The command."""
    options = _options()
    with collector() as taking, EmbeddedRedis() as redis:
        counted = [_batches(size, options, redis.url, taking) for size in options.batch]
        counted.append(_ticks(options, taking))
        _alone(options.runs, taking)
    return 0 if all(counted) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--batch", type=int, nargs="+", default=[5_000, 100], help="records in a batch")
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--ticks", type=int, default=200)
    parser.add_argument("--runs", type=int, default=9)
    return parser.parse_args()


def _batches(size: int, options: argparse.Namespace, redis_url: str, taking: Collector) -> bool:
    batches = Batches(options.events, size)
    ways = tuple(traced_batches.Way)
    spent = _in_turn(ways, options.runs, lambda way: applied(way, batches, redis_url, taking.settings))
    title = f"{batches.events:,} results, {len(batches.plain)} batches of {size:,}"
    print(_compared(title, "us/result", {way: _each(spent[way], batches.events) for way in ways}))
    return _told(taking, "apply exam-results.v1", (options.runs + 1) * len(batches.plain))


def _ticks(options: argparse.Namespace, taking: Collector) -> bool:
    ways = tuple(traced_ticks.Way)
    spent = _in_turn(
        ways, options.runs, lambda way: ticked(way, options.streams, options.ticks, taking.settings)
    )
    title = f"{options.ticks:,} ticks to {options.streams:,} streams"
    print(_compared(title, "us/tick", {way: _each(spent[way], options.ticks) for way in ways}))
    # One a second at most, so as many as the runs took seconds; one in each at least.
    return _told(taking, "push changes", options.runs + 1, at_least=True)


def _alone(runs: int, taking: Collector) -> None:
    """The calls and spans by themselves: below what can be seen in the tables above, and what imports and webhooks pay."""
    found = [
        ("a batch's call, off", [traced_batches.call_ns() / 1e3 for _ in range(runs)]),
        ("a tick's call, off", [traced_ticks.call_ns() / 1e3 for _ in range(runs)]),
        ("one span, made and sent", [_span_us(taking) for _ in range(runs)]),
    ]
    print("\n" + table(["by itself", "us"], [[name, spread(values, ",.2f")] for name, values in found]))


def _span_us(taking: Collector) -> float:
    spans = Spans(taking.settings, "bench")
    began = time.process_time()
    for number in range(_SPANS):
        with spans.span("POST webhook", SpanKind.CLIENT, {"http.request.body.size": number}):
            pass
    spans.stop()
    return (time.process_time() - began) / _SPANS * 1e6


def _in_turn(ways: Sequence[Way], runs: int, spend: Callable[[Way], float]) -> Mapping[Way, Sequence[float]]:
    """CPU seconds of each way in each run; before the first, each is done once and not counted."""
    spent: dict[Way, list[float]] = defaultdict(list)
    for number in range(runs + 1):
        for way in ways if number % 2 else reversed(ways):
            seconds = spend(way)
            if number:
                spent[way].append(seconds)
    return spent


def _each(seconds: Sequence[float], count: int) -> list[float]:
    return [one / count * 1e6 for one in seconds]


def _compared(title: str, unit: str, found: Mapping[Way, Sequence[float]]) -> str:
    first = next(iter(found.values()))
    rows = []
    for way, values in found.items():
        ratios = [value / without for value, without in zip(values, first, strict=True)]
        rows.append([str(way.value), spread(values, ",.2f"), spread(ratios, ".3f")])
    return "\n" + table([title, f"CPU {unit}, median (min-max)", "of it without, of the same run"], rows)


def _told(taking: Collector, name: str, expected: int, *, at_least: bool = False) -> bool:
    spans = taking.taken()[name]
    sound = spans >= expected if at_least else spans == expected
    if not sound:
        print(
            f"the collector has {spans:,} spans of {expected:,}; the figures of traces that are on say nothing"
        )
    return sound


if __name__ == "__main__":
    sys.exit(main())

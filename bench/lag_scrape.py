"""What it costs to judge 50,000 partitions, and to be scraped afterwards: seconds, bytes, and memory.

    python -m bench.lag_scrape [--partitions 50000] [--samples 15]

The sources are made up (asking Redis and Kafka is not measured here), and the worst case: every partition is behind, moves, and
has been claimed by an epoch, so nothing is shared between samples. Seconds are of the processor, so that other work on the machine
does not count. Exit status 1 when a scrape takes one, or judging takes the five seconds until the next sample.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest

from consumers.lag.judging import Judge, figures_of
from consumers.lag.metrics import MonitorMetrics
from consumers.lag.parts import Facts
from consumers.lag.samples import GroupSample, PartitionSample, Snapshot
from consumers.lag.verdicts import Rules
from schemas.operations import encode_operations

_EVERY_MS: Final = 5_000
_SCRAPE_SECONDS: Final = 1.0


def snapshot(number: int, partitions: int, groups: int) -> Snapshot:
    """One sample of a cluster in which everybody is behind."""
    at_ms = 1_700_000_000_000 + number * _EVERY_MS
    each = partitions // groups
    return Snapshot(
        at_ms=at_ms,
        groups=tuple(
            GroupSample(
                group="streams" if group == 0 else f"readers-{group}",
                topic="exam-results.v1",
                generation="g1",
                members=8,
                partitions=tuple(
                    PartitionSample(
                        partition=one,
                        position=10_000_000 + one + number * 1_000,
                        start=0,
                        end=12_000_000 + one + number * 1_001,
                        lag_records=2_000_000 + number,
                        lag_seconds=600.0 + one / 1_000 + number,
                        owner=f"worker-{one % 8}",
                        epoch=1_700_000_000_000_000 + one,
                        heard_ms=at_ms - one % 1_000,
                        complete_ms=at_ms - 600_000,
                    )
                    for one in range(each)
                ),
            )
            for group in range(groups)
        ),
        rejected=number,
        events=number * 1_000,
    )


def measure(partitions: int, samples: int, groups: int) -> bool:
    """Judge so many samples, scrape after each; prints a table, and says whether both were quick enough."""
    registry = CollectorRegistry()
    metrics = MonitorMetrics(registry)
    judge = Judge(Rules(), "bench", _EVERY_MS / 1000)
    judging, scraping = [], []
    before = _resident()
    for number in range(samples):
        taken = snapshot(number, partitions, groups)
        begun = time.process_time()
        judgement = judge.judge(taken, Facts(answer_seconds=0.001, used_bytes=1))
        judging.append(time.process_time() - begun)
        metrics.judged.judgement = judgement
        begun = time.process_time()
        text = generate_latest(registry)
        scraping.append(time.process_time() - begun)
    state = encode_operations(judgement)
    point = encode_operations(figures_of(judgement))
    # With full windows; the first ones are cheaper.
    late = judging[len(judging) // 2 :]
    print(f"| {partitions:,} partitions of {groups:,} groups | median | worst |")
    print("|---|---:|---:|")
    print(f"| judging a sample, s | {statistics.median(late):.3f} | {max(judging):.3f} |")
    print(f"| a scrape, s | {statistics.median(scraping):.3f} | {max(scraping):.3f} |")
    print(f"| a scrape, bytes | {len(text):,} | |")
    print(f"| state in Redis, bytes | {len(state):,} | |")
    print(f"| a point of the history, bytes | {len(point):,} | |")
    print(f"| memory for {Rules().window_samples} samples, MB | {(_resident() - before) / 1e6:.0f} | |")
    return max(judging) < _EVERY_MS / 1000 and max(scraping) < _SCRAPE_SECONDS


def _resident() -> int:
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * 4_096


def main() -> int:
    """Run it once with one group that reads everything, and once with many groups."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=50_000)
    parser.add_argument("--samples", type=int, default=15)
    given = parser.parse_args()
    fast = [measure(given.partitions, given.samples, groups) for groups in (1, 1_000)]
    return 0 if all(fast) else 1


if __name__ == "__main__":
    sys.exit(main())

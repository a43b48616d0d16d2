"""Judgements and histories made by hand, as the monitor would write them, for tests of what shows them."""

from __future__ import annotations

import math

from schemas.operations import (
    SAMPLE_SECONDS,
    GroupReport,
    Judgement,
    PartitionReport,
    PartReport,
    Sample,
    Verdict,
)


def group(
    name: str,
    topic: str,
    verdict: Verdict = Verdict.OK,
    *,
    lag_seconds: float | None = 0.0,
    lag_records: int | None = 0,
    partitions: int = 8,
    at_ms: int = 0,
) -> GroupReport:
    """A reader of which one partition has all the lag, and the verdict."""
    told = [
        PartitionReport(
            partition=number,
            position=120_000 - (lag_records or 0 if number == 3 else 0),
            end=120_000,
            lag_records=lag_records if number == 3 else 0,
            lag_seconds=lag_seconds if number == 3 else 0.0,
            verdict=verdict if number == 3 else Verdict.OK,
            owner=f"worker-{number % 2 + 1}",
            since_ms=at_ms - 90_000,
        )
        for number in range(partitions)
    ]
    told.sort(key=lambda one: one.partition != 3)
    return GroupReport(
        group=name,
        topic=topic,
        verdict=verdict,
        lag_records=lag_records,
        lag_seconds=lag_seconds,
        partitions=tuple(told),
        partition_count=partitions,
        verdicts={"ok": partitions} if verdict is Verdict.OK else {"ok": partitions - 1, verdict.value: 1},
        position_records=960_000,
        end_records=960_000,
    )


def all_is_well(at_ms: int) -> Judgement:
    """Everything runs, and keeps up."""
    return Judgement(
        at_ms=at_ms,
        monitor="oak:4711",
        every_seconds=5.0,
        groups=(
            group("streams", "exam-results.v1", at_ms=at_ms),
            group("relay", "changes", lag_seconds=0.2, lag_records=14, at_ms=at_ms),
            group("webhooks", "cell-changes.v1", at_ms=at_ms),
            group("publisher", "changes", at_ms=at_ms),
            group("county-warehouse", "exam-results.v1", lag_seconds=2.0, lag_records=310, at_ms=at_ms),
        ),
        parts=(
            PartReport(
                name="canary",
                verdict=Verdict.OK,
                figures={
                    "import": 0.018,
                    "streams": 0.094,
                    "push": 0.012,
                    "webhook": 0.31,
                    "total": 0.124,
                    "lost": 0,
                },
                at_ms=at_ms,
            ),
            PartReport(
                name="gateways:oak:8080",
                verdict=Verdict.OK,
                figures={"connections": 7_410, "most_connections": 20_000},
                at_ms=at_ms,
            ),
            PartReport(
                name="gateways:elm:8080",
                verdict=Verdict.OK,
                figures={"connections": 6_902, "most_connections": 20_000},
                at_ms=at_ms,
            ),
            PartReport(name="rejections", verdict=Verdict.OK, figures={"per_minute": 0.0}),
            PartReport(
                name="endpoints", verdict=Verdict.OK, figures={"failing": 0, "disabled": 0, "active": 212}
            ),
            PartReport(
                name="redis",
                verdict=Verdict.OK,
                figures={"used_bytes": 3.42e9, "limit_bytes": 8e9, "answer_seconds": 0.0007},
            ),
            PartReport(name="kafka", verdict=Verdict.OK, figures={"answer_seconds": 0.004}),
            PartReport(name="clocks", verdict=Verdict.OK, figures={"redis_seconds": 0.002}),
        ),
    )


def a_worker_wedged(at_ms: int) -> Judgement:
    """One partition of the streams stands still, an endpoint fails, and a rebuild is on its way."""
    well = all_is_well(at_ms)
    streams = group(
        "streams", "exam-results.v1", Verdict.STALL, lag_seconds=92.4, lag_records=18_231, at_ms=at_ms
    )
    webhooks = group(
        "webhooks", "cell-changes.v1", Verdict.REPLAYING, lag_seconds=31.0, lag_records=2_050, at_ms=at_ms
    )
    failing = PartReport(
        name="endpoints",
        verdict=Verdict.WARN,
        detail="3 of 212 endpoints fail",
        figures={"failing": 3, "disabled": 1, "active": 208},
    )
    return Judgement(
        at_ms=at_ms,
        monitor=well.monitor,
        every_seconds=5.0,
        groups=(streams, well.groups[1], webhooks, *well.groups[3:]),
        parts=tuple(failing if part.name == "endpoints" else part for part in well.parts),
    )


def history(until_ms: int, hours: float = 1.0) -> list[Sample]:
    """A sample each ten seconds, with a burst in the middle and a gap of five minutes after it."""
    count = int(hours * 3_600 / SAMPLE_SECONDS)
    samples = []
    for number in range(count):
        if 0.6 < number / count < 0.6 + 300 / (hours * 3_600):
            continue  # nobody monitored
        burst = 40 * math.exp(-(((number / count - 0.45) * 16) ** 2))
        wave = 1 + math.sin(number / 9)
        samples.append(
            Sample(
                until_ms - (count - 1 - number) * SAMPLE_SECONDS * 1000,
                {
                    "lag/streams": 0.1 * wave + burst,
                    "lag/relay": 0.2 + burst / 3,
                    "lag/webhooks": 0.4 * wave,
                    "lag/publisher": 1.0,
                    "records/streams": 30 * wave + 400 * burst,
                    "records/relay": 14 + 20 * burst,
                    "canary/total": 0.12 + 0.05 * wave + burst,
                    "canary/import": 0.018,
                    "canary/streams": 0.09 + 0.04 * wave + burst,
                    "canary/push": 0.012 + 0.01 * wave,
                    "events": 410 + 60 * wave + 90 * burst,
                    "rejected": 2.0 if 0.3 < number / count < 0.33 else 0.0,
                    "connections": 14_000 + 300 * wave,
                    "redis/used_bytes": 3.4e9 + number * 1e5,
                },
            )
        )
    return samples

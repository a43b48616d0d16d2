"""How many of everything a demand takes, and how busy that is: workers, partitions, Redis masters, gateways."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from cli.plan.demand import Demand
from cli.plan.line import Line
from cli.plan.measured import (
    CONNECT_MILLISECONDS,
    FEWEST_PARTITIONS,
    GATEWAY_CORES,
    GATEWAY_MESSAGES,
    GATEWAY_STREAMS,
    HALF,
    IMPORTS,
    KAFKA_MICROSECONDS,
    MESSAGES_A_VIEWER,
    PARTITIONS_A_MASTER,
    REDIS_MICROSECONDS,
    SPARE,
    STREAM_SECONDS,
    WORKER_EVENTS,
    WORKER_MICROSECONDS,
)


@dataclass(frozen=True, slots=True)
class Processes:
    """How many of each."""

    workers: int
    masters: int
    gateways: int
    partitions: int


def processes_for(demand: Demand) -> Processes:
    """As many as the demand takes, and one more of those of which one may be away."""
    workers = _workers(demand)
    masters = ceil(_fits(demand.events * REDIS_MICROSECONDS.value / 1e6))
    return Processes(workers, masters, _gateways(demand), _partitions(workers, masters))


def process_lines(demand: Demand, needed: Processes) -> Iterator[Line]:
    """How many of each."""
    yield Line(
        "workers",
        "Workers",
        needed.workers,
        "",
        f"{demand.events:,.0f} events/s, half of {WORKER_EVENTS.value:,.0f} each, and one more",
        (WORKER_EVENTS, HALF, SPARE),
    )
    yield Line(
        "partitions",
        "Partitions of the results",
        needed.partitions,
        "",
        f"twice {needed.workers} workers, {PARTITIONS_A_MASTER} for each of several masters, at least {FEWEST_PARTITIONS}, a power of two; fixed for good",
        (),
    )
    yield Line(
        "redis_masters",
        "Redis masters",
        needed.masters,
        "",
        f"{demand.events:,.0f} events/s of {REDIS_MICROSECONDS.value} us, half of a core each",
        (REDIS_MICROSECONDS, HALF),
    )
    yield Line(
        "gateways",
        "Gateways",
        needed.gateways,
        "",
        f"{demand.viewers:,} streams, {GATEWAY_STREAMS.value:,.0f} each; {_messages(demand):,.0f} messages/s; "
        f"{demand.events:,.0f} imports/s, half of {IMPORTS.value:,.0f} each; and one more",
        (GATEWAY_STREAMS, GATEWAY_CORES, MESSAGES_A_VIEWER, IMPORTS, HALF, SPARE),
    )


def core_lines(demand: Demand) -> Iterator[Line]:
    """How many cores are busy at the busiest moment."""
    for name, what, cost in (
        ("worker_cores", "Cores busy: workers", WORKER_MICROSECONDS),
        ("redis_cores", "Cores busy: Redis", REDIS_MICROSECONDS),
        ("kafka_cores", "Cores busy: Kafka", KAFKA_MICROSECONDS),
    ):
        yield Line(
            name,
            what,
            demand.events * cost.value / 1e6,
            "cores",
            f"{demand.events:,.0f} events/s of {cost.value} us",
            (cost,),
        )
    yield Line(
        "gateway_cores",
        "Cores busy: gateways",
        _gateway_cores(demand),
        "cores",
        f"{_messages(demand):,.0f} messages/s; every stream opened anew each {STREAM_SECONDS} s",
        (GATEWAY_CORES, GATEWAY_MESSAGES, CONNECT_MILLISECONDS, MESSAGES_A_VIEWER),
    )


def _fits(load: float) -> float:
    """How many of something are needed, when each is to do no more than half of what it can; at least one."""
    return max(1.0, load / HALF.value)


def _workers(demand: Demand) -> int:
    return ceil(_fits(demand.events / WORKER_EVENTS.value)) + int(SPARE.value)


def _messages(demand: Demand) -> float:
    return demand.viewers * MESSAGES_A_VIEWER.value


def _gateway_cores(demand: Demand) -> float:
    messages = _messages(demand) * GATEWAY_CORES.value / GATEWAY_MESSAGES.value
    return messages + demand.viewers / STREAM_SECONDS * CONNECT_MILLISECONDS.value / 1_000


def _gateways(demand: Demand) -> int:
    busy = max(
        demand.viewers / GATEWAY_STREAMS.value,  # measured whole, so no half is taken of it
        _fits(_gateway_cores(demand)),
        _fits(demand.events / IMPORTS.value),
    )
    return ceil(busy) + int(SPARE.value)


def _partitions(workers: int, masters: int) -> int:
    """A power of two, so that two, four and eight workers have equal shares; more than workers now, because it is fixed for good."""
    wanted = max(FEWEST_PARTITIONS, 2 * workers, PARTITIONS_A_MASTER * masters if masters > 1 else 0)
    return 1 << (wanted - 1).bit_length()

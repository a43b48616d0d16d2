"""The calculation behind ``scores plan``: pure, from what is asked and what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from cli.plan.measured import (
    AUDIT_BYTES,
    CONNECT_MILLISECONDS,
    ENTRIES_A_STREAM,
    EVENT_BYTES,
    FEWEST_PARTITIONS,
    GATEWAY_CORES,
    GATEWAY_MB,
    GATEWAY_MESSAGES,
    GATEWAY_STREAMS,
    HALF,
    IMPORT_INDEX_BYTES,
    IMPORT_KEEP_DAYS,
    IMPORT_RECORD_BYTES,
    IMPORTS,
    KAFKA_MICROSECONDS,
    MESSAGES_A_VIEWER,
    PARTITIONS_A_MASTER,
    REDIS_MICROSECONDS,
    REDIS_RESIDENT_MB,
    REDIS_USED_MB,
    REPLAY_EVENTS,
    RESCORES,
    RESULT_BYTES,
    REWRITING,
    SCHOOL_KB,
    SEASON_RESULTS,
    SEASON_SCHOOLS,
    SPARE,
    STATE_EXAMS_AN_HOUR,
    STATE_STUDENTS,
    STORM_CLIENTS,
    STORM_SECONDS,
    STREAM_KB,
    STREAM_SECONDS,
    VIEWING_HOURS,
    WORKER_EVENTS,
    WORKER_MB,
    WORKER_MICROSECONDS,
    Assumed,
    Measured,
)

MOST_PARTITIONS: Final = 1_024  # what `scores topics create` takes
_GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Demand:
    """What a deployment is for.

    Attributes:
        students: tested in a school year.
        viewers: open streams at the busiest moment.
        events_per_second: at the busiest moment; None: the state's own peak, by the number of students.
        years: school years that are kept.
        copies: of each record in Kafka.
    """

    students: int
    viewers: int
    events_per_second: float | None = None
    years: int = 1
    copies: int = 3

    @property
    def events(self) -> float:
        """Events a second at the busiest moment."""
        if self.events_per_second is not None:
            return self.events_per_second
        return STATE_EXAMS_AN_HOUR.value / 3_600 * self.students / STATE_STUDENTS

    @property
    def results(self) -> int:
        """Live results of a school year."""
        return ceil(self.students * SEASON_RESULTS.value / STATE_STUDENTS)

    @property
    def schools(self) -> int:
        """Schools that so many students go to."""
        return max(1, ceil(self.students * SEASON_SCHOOLS.value / STATE_STUDENTS))

    @property
    def records(self) -> int:
        """Results and rescores of a school year."""
        return ceil(self.results * (1 + RESCORES.value))


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of the plan.

    Attributes:
        name: for programs; it never changes.
        what: for people.
        how: the calculation, with its numbers.
        sources: what the numbers are.
    """

    name: str
    what: str
    value: float
    unit: str
    how: str
    sources: tuple[Measured | Assumed, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything: figures, and what to mind about them."""

    demand: Demand
    lines: tuple[Line, ...]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> float:
        """The value of one line."""
        return next(line.value for line in self.lines if line.name == name)


def make_plan(demand: Demand) -> Plan:
    """Partitions, processes, memory, disk and times for a demand."""
    workers = _workers(demand)
    masters = ceil(_fits(demand.events * REDIS_MICROSECONDS.value / 1e6))
    gateways = _gateways(demand)
    partitions = _partitions(workers, masters)
    lines = (
        *_process_lines(demand, workers, masters, gateways, partitions),
        *_core_lines(demand),
        *_memory_lines(demand, workers, gateways),
        *_disk_lines(demand),
        *_time_lines(demand, gateways),
    )
    return Plan(demand, lines, tuple(_notes(demand, partitions, masters)))


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


def _imports_bytes(demand: Demand) -> float:
    """What is remembered of imports: records for a while, the index of exams for ever."""
    kept = min(demand.years, IMPORT_KEEP_DAYS / 365)
    return demand.records * kept * IMPORT_RECORD_BYTES.value + (
        demand.results * demand.years * IMPORT_INDEX_BYTES.value
    )


def _process_lines(
    demand: Demand, workers: int, masters: int, gateways: int, partitions: int
) -> Iterator[Line]:
    yield Line(
        "workers",
        "Workers",
        workers,
        "",
        f"{demand.events:,.0f} events/s, half of {WORKER_EVENTS.value:,.0f} each, and one more",
        (WORKER_EVENTS, HALF, SPARE),
    )
    yield Line(
        "partitions",
        "Partitions of the results",
        partitions,
        "",
        f"twice {workers} workers, {PARTITIONS_A_MASTER} for each of several masters, at least {FEWEST_PARTITIONS}, a power of two; fixed for good",
        (),
    )
    yield Line(
        "redis_masters",
        "Redis masters",
        masters,
        "",
        f"{demand.events:,.0f} events/s of {REDIS_MICROSECONDS.value} us, half of a core each",
        (REDIS_MICROSECONDS, HALF),
    )
    yield Line(
        "gateways",
        "Gateways",
        gateways,
        "",
        f"{demand.viewers:,} streams, {GATEWAY_STREAMS.value:,.0f} each; {_messages(demand):,.0f} messages/s; "
        f"{demand.events:,.0f} imports/s, half of {IMPORTS.value:,.0f} each; and one more",
        (GATEWAY_STREAMS, GATEWAY_CORES, MESSAGES_A_VIEWER, IMPORTS, HALF, SPARE),
    )


def _core_lines(demand: Demand) -> Iterator[Line]:
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


def _memory_lines(demand: Demand, workers: int, gateways: int) -> Iterator[Line]:
    results = demand.results * demand.years
    documents = demand.records * demand.years
    tables, imports = results * RESULT_BYTES.value, _imports_bytes(demand)
    yield Line(
        "redis_tables_gib",
        "Redis: tables",
        tables / _GIB,
        "GiB",
        f"{results:,} live results of {RESULT_BYTES.value} bytes",
        (RESULT_BYTES, SEASON_RESULTS),
    )
    yield Line(
        "redis_imports_gib",
        "Redis: imports",
        imports / _GIB,
        "GiB",
        f"{documents:,} documents: {IMPORT_RECORD_BYTES.value:g} bytes for {IMPORT_KEEP_DAYS} days, {IMPORT_INDEX_BYTES.value:g} for ever",
        (IMPORT_RECORD_BYTES, IMPORT_INDEX_BYTES, RESCORES),
    )
    limit = 2 * tables + imports
    yield Line(
        "redis_maxmemory_gib",
        "Redis: maxmemory, all masters",
        limit / _GIB,
        "GiB",
        "tables twice, for a rebuild, and imports",
        (RESULT_BYTES, IMPORT_RECORD_BYTES),
    )
    resident = REDIS_RESIDENT_MB.value / REDIS_USED_MB.value
    yield Line(
        "redis_machine_gib",
        "Redis: memory of its machines",
        limit * resident * (1 + REWRITING.value) / _GIB,
        "GiB",
        f"maxmemory x {resident:.2f} resident x {1 + REWRITING.value:g} while the append-only file is rewritten; again for each replica",
        (REDIS_RESIDENT_MB, REDIS_USED_MB, REWRITING),
    )
    yield Line(
        "worker_mb",
        "Memory of a worker",
        WORKER_MB.value,
        "MB",
        f"the peak of one that replayed a season; {workers} of them",
        (WORKER_MB,),
    )
    most = ceil(demand.viewers / max(1, gateways - int(SPARE.value)))
    gateway = GATEWAY_MB.value * 1e6 + most * STREAM_KB.value * 1e3 + demand.schools * SCHOOL_KB.value * 1e3
    yield Line(
        "gateway_mb",
        "Memory of a gateway",
        gateway / 1e6,
        "MB",
        f"{most:,} streams of {STREAM_KB.value} kB, {demand.schools:,} schools of {SCHOOL_KB.value:g} kB; the kernel's buffers beside it",
        (GATEWAY_MB, STREAM_KB, SCHOOL_KB),
    )


def _disk_lines(demand: Demand) -> Iterator[Line]:
    records = demand.records * demand.years
    yield Line(
        "kafka_results_gib",
        "Kafka: results, for ever",
        records * EVENT_BYTES.value * demand.copies / _GIB,
        "GiB",
        f"{records:,} records of {EVENT_BYTES.value:g} bytes, {demand.copies} copies; compression makes it less",
        (EVENT_BYTES, RESCORES),
    )
    streams = demand.viewers * VIEWING_HOURS.value * 3_600 / STREAM_SECONDS
    yield Line(
        "kafka_audit_gib",
        "Kafka: audit, for ever, a year",
        streams * ENTRIES_A_STREAM * AUDIT_BYTES.value * demand.copies / _GIB,
        "GiB",
        f"{streams:,.0f} streams, {ENTRIES_A_STREAM} entries of {AUDIT_BYTES.value:g} bytes each, {demand.copies} copies",
        (AUDIT_BYTES, VIEWING_HOURS),
    )


def _time_lines(demand: Demand, gateways: int) -> Iterator[Line]:
    records = demand.records * demand.years
    yield Line(
        "rebuild_minutes",
        "A rebuild, or all tables anew",
        records / REPLAY_EVENTS.value / 60,
        "minutes",
        f"{records:,} records, {REPLAY_EVENTS.value:,.0f} a second",
        (REPLAY_EVENTS,),
    )
    # One is gone: its streams come back to the others, at once.
    back = demand.viewers / gateways / max(1, gateways - 1) / STORM_CLIENTS.value * STORM_SECONDS.value
    yield Line(
        "reconnect_seconds",
        "All streams of a lost gateway back",
        back,
        "s",
        f"{STORM_CLIENTS.value:,.0f} clients took {STORM_SECONDS.value} s at one gateway",
        (STORM_CLIENTS, STORM_SECONDS),
    )


def _notes(demand: Demand, partitions: int, masters: int) -> Iterator[str]:
    if masters > 1:
        yield (
            f"{masters} masters are a Redis Cluster (SCORES_REDIS_CLUSTER=yes). Its slots are dealt out by a hash of each "
            "partition: look at `scores tables --partitions` for an even load."
        )
    if partitions > MOST_PARTITIONS:
        yield f"More than {MOST_PARTITIONS} partitions have never been tried, and `scores topics create` refuses them."
    if demand.events_per_second is None:
        yield (
            f"{demand.events:,.0f} events/s are the state's peak by the number of students. A vendor that releases a backlog "
            "sends more; then figures are late by what waits, and nothing is lost. --events-per-second plans for it."
        )
    yield (
        "Besides: one publisher, two relays, two webhook workers, one monitor and one canary, each below 200 MB while "
        "nothing happens. What webhooks keep is in docs/operations/capacity.md."
    )
    yield (
        "Everything was measured on one machine with two cores. Compare with yours before the season: `scores tables`, "
        "`scores lag`, and the programs in bench/."
    )

"""Pathway: tables that are kept up to date; retraction is what the engine does by itself.

An exam's newest version is a maximum over its versions, a cell is a sum over newest versions. Input is persisted in
files and replayed after a crash. The engine has no Redis connector, so ``subscribe`` writes each closed batch.
"""

from __future__ import annotations

from typing import Any

import pathway as pw
from redis import Redis

from bench.peers.job import FIGURES, STATE
from bench.peers.surroundings import FLUSH_SECONDS, SESSION_SECONDS, Surroundings

_DATE = "%Y-%m-%dT%H:%M:%S%.fZ"


class Exam(pw.Schema):
    """The fields of a result event that the job needs."""

    assessment_id: str
    opportunity_id: str
    status: str
    status_date: str
    sequence: int
    school: str | None = pw.column_definition(default_value=None)
    grade: str | None = pw.column_definition(default_value=None)
    scale_score: int | None = pw.column_definition(default_value=None)
    level: int | None = pw.column_definition(default_value=None)


def main() -> None:
    """Build the tables and keep them up to date for ever."""
    around = Surroundings.from_environment()
    events = pw.io.kafka.read(
        {
            "bootstrap.servers": around.kafka,
            "group.id": around.group,
            "auto.offset.reset": "earliest",
            # Positions are in the persisted state; those that librdkafka commits would be ahead of it after a crash.
            "enable.auto.commit": "false",
            "session.timeout.ms": str(SESSION_SECONDS * 1000),
        },
        topic=around.topic,
        schema=Exam,
        format="json",
        autocommit_duration_ms=100,
        max_backlog_size=20_000,  # as its documentation advises for a source that has a backlog
        name="exam-results",
    )
    write = _Cells(Redis(around.redis_host, around.redis_port))
    pw.io.subscribe(_cells(events), on_change=write.on_change, on_time_end=write.on_time_end, name="cells")
    pw.run(
        monitoring_level=pw.MonitoringLevel.NONE,
        persistence_config=pw.persistence.Config(
            pw.persistence.Backend.filesystem(around.folder / "persistence"),
            snapshot_interval_ms=int(FLUSH_SECONDS * 1000),
        ),
    )


def _cells(events: pw.Table) -> pw.Table:
    this = pw.this
    versions = events.select(
        exam=this.assessment_id + "/" + this.opportunity_id,
        version=pw.make_tuple(
            this.status_date.dt.strptime(_DATE).dt.timestamp(unit="us"),
            this.sequence,
            pw.if_else(this.status == "reset", "", pw.coalesce(this.school, "")),
            this.assessment_id + ":" + pw.coalesce(this.grade, ""),
            pw.if_else(this.status == "invalidated", 0, pw.coalesce(this.scale_score, 0)),
            pw.if_else(this.status == "invalidated", 0, pw.coalesce(this.level, 0)),
        ),
    )
    newest = versions.groupby(this.exam).reduce(version=pw.reducers.max(this.version))
    live = newest.select(
        school=this.version[2], cell=this.version[3], score=this.version[4], level=this.version[5]
    ).filter(this.school != "")
    counted = live.select(
        this.cell,
        this.level,
        score=pw.if_else(this.level > 0, this.score, 0),
        scored=pw.cast(int, this.level > 0),
        organization=pw.make_tuple(
            this.school,
            this.school.str.slice(0, 7) + "0000000",
            this.school.str.slice(0, 2) + "000000000000",
            STATE,
        ),
    ).flatten(this.organization)
    return counted.groupby(this.organization, this.cell).reduce(
        this.organization,
        this.cell,
        results=pw.reducers.count(),
        with_scores=pw.reducers.sum(this.scored),
        score_sum=pw.reducers.sum(this.score),
        level_1=pw.reducers.sum(pw.cast(int, this.level == 1)),
        level_2=pw.reducers.sum(pw.cast(int, this.level == 2)),
        level_3=pw.reducers.sum(pw.cast(int, this.level == 3)),
        level_4=pw.reducers.sum(pw.cast(int, this.level == 4)),
    )


class _Cells:
    """Collects the changes of one moment and writes them when it is closed."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._changed: dict[tuple[str, str], str | None] = {}

    def on_change(self, key: pw.Pointer, row: dict[str, Any], time: int, is_addition: bool) -> None:
        name = row["organization"], row["cell"]
        if is_addition:
            self._changed[name] = ",".join(str(row[figure]) for figure in FIGURES)
        else:
            self._changed.setdefault(name, None)  # of a cell that goes on, the addition comes as well

    def on_time_end(self, time: int) -> None:
        with self._redis.pipeline(transaction=False) as pipe:
            for (organization, cell), figures in self._changed.items():
                if figures is None:
                    pipe.hdel(f"cells:{organization}", cell)
                else:
                    pipe.hset(f"cells:{organization}", cell, figures)
            pipe.execute()
        self._changed.clear()


if __name__ == "__main__":
    main()

"""Who reads which topic and how far it is behind, and what the stream workers do."""

from __future__ import annotations

from typing import Final

from deploy.panels import Board, Panel
from deploy.queries import quantiles, rate

READERS: Final = Board(
    "readers",
    "readers and workers",
    "Who reads which topic and how far it is behind; what the stream workers do; Redis and clocks.",
    (
        (
            "Lag",
            (
                Panel("Seconds", (("scores:reader:lag_seconds", "{{group}} {{topic}}"),), unit="s"),
                Panel("Records", (("scores:reader:lag_records", "{{group}} {{topic}}"),)),
                Panel(
                    "The partitions that are furthest behind",
                    (
                        (
                            "topk(10, scores_consumer_partition_lag_seconds)",
                            "{{group}} {{topic}} {{partition}}",
                        ),
                    ),
                    unit="s",
                    why="Only topics of up to 64 partitions; `scores lag` shows them all.",
                ),
                Panel(
                    "Records written and read a second",
                    (
                        ("deriv(scores_topic_end_records[2m])", "written to {{topic}}"),
                        ("deriv(scores_consumer_position_records[2m])", "read by {{group}} {{topic}}"),
                    ),
                    unit="ops",
                    width=12,
                ),
                Panel(
                    "Results are complete up to",
                    (("time() - min(scores_watermark_timestamp_seconds > 0)", "so long ago"),),
                    unit="s",
                    width=12,
                ),
            ),
        ),
        (
            "Stream workers",
            (
                Panel("Events by outcome", rate("scores_events_total", "outcome"), unit="ops"),
                Panel("Rejected by reason", rate("scores_rejected_total", "reason"), unit="ops"),
                Panel("From batch received to applied", quantiles("scores_apply_seconds"), unit="s"),
                Panel("Records in a batch", quantiles("scores_batch_records")),
                Panel(
                    "Batches and cells",
                    (*rate("scores_batches_total"), *rate("scores_cells_written_total")),
                    unit="ops",
                ),
                Panel("Partitions owned", (("scores_partitions_owned", "{{instance}}"),)),
                Panel(
                    "Partitions change hands",
                    (
                        *rate("scores_rebalances_total"),
                        *rate("scores_claims_total"),
                        *rate("scores_fenced_writes_total"),
                    ),
                    unit="ops",
                    width=12,
                ),
                Panel("Accidents", rate("scores_accidents_total", "kind"), unit="ops", width=12),
            ),
        ),
        (
            "Redis, clocks and the monitor",
            (
                Panel("Redis memory", (("max(scores_redis_used_bytes)", "used"),), unit="bytes", width=6),
                Panel(
                    "Redis answers within",
                    (("max(scores_redis_answer_seconds)", "seconds"),),
                    unit="s",
                    width=6,
                ),
                Panel(
                    "Clocks apart",
                    (("max by (clock) (abs(scores_clock_skew_seconds))", "{{clock}}"),),
                    unit="s",
                    limits=(2,),
                    width=6,
                ),
                Panel("A sample takes", quantiles("scores_monitor_scrape_seconds"), unit="s", width=6),
            ),
        ),
    ),
)

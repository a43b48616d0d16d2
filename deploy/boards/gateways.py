"""Streams, what is sent on them, and the audit."""

from __future__ import annotations

from typing import Final

from deploy.panels import Board, Panel
from deploy.queries import quantiles, rate

GATEWAYS: Final = Board(
    "gateways",
    "gateways",
    "Streams, what is sent on them and how fast, who is refused, and the audit.",
    (
        (
            "Streams",
            (
                Panel("Open", (("scores_sse_connections", "{{instance}}"),)),
                Panel("Asked for, by outcome", rate("scores_sse_connects_total", "outcome"), unit="ops"),
                Panel("Ended, by reason", rate("scores_sse_closes_total", "reason"), unit="ops"),
                Panel("Came back, by what they got", rate("scores_sse_resumes_total", "result"), unit="ops"),
                Panel(
                    "Changed on open streams",
                    (
                        *rate("scores_sse_subscription_changes_total"),
                        *rate("scores_sse_renewals_total"),
                    ),
                    unit="ops",
                ),
                Panel("Requests refused, by reason", rate("scores_auth_denied_total", "reason"), unit="ops"),
            ),
        ),
        (
            "What is sent",
            (
                Panel("Change to frame sent", quantiles("scores_freshness_seconds"), unit="s", limits=(2,)),
                Panel("Change noticed to frames handed over", quantiles("scores_fanout_seconds"), unit="s"),
                Panel("Frames by kind", rate("scores_sse_frames_total", "kind"), unit="ops"),
                Panel(
                    "Cells, and organizations read as a whole",
                    (*rate("scores_sse_cells_total"), *rate("scores_sse_snapshot_builds_total")),
                    unit="ops",
                ),
                Panel("Merged for slow subscribers", rate("scores_sse_merged_total"), unit="ops"),
                Panel(
                    "Subscribers are told that results are complete up to",
                    (("time() - min(scores_gateway_watermark_timestamp_seconds > 0)", "so long ago"),),
                    unit="s",
                ),
                Panel(
                    "Gateways that follow no tables, or incomplete ones",
                    (
                        ("sum(1 - scores_gateway_tables_live)", "not live"),
                        ("sum(scores_gateway_tables_stale)", "incomplete"),
                    ),
                    limits=(1,),
                    width=24,
                ),
            ),
        ),
        (
            "Audit",
            (
                Panel(
                    "Entries written and lost",
                    (*rate("scores_audit_entries_total"), *rate("scores_audit_lost_total")),
                    unit="ops",
                ),
                Panel(
                    "Not yet taken by Kafka",
                    (("scores_audit_unshipped_bytes", "{{instance}}"),),
                    unit="bytes",
                    limits=(64 * 1024 * 1024,),
                ),
                Panel("Cannot be written", (("scores_audit_failing", "{{instance}}"),), limits=(1,)),
            ),
        ),
    ),
)

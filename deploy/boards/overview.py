"""The first look: how old the figures are, whether anything is stuck, and where to look next."""

from __future__ import annotations

from typing import Final

from deploy.panels import Board, Panel, Shape
from deploy.queries import quantiles

_OURS: Final = 'group=~"streams|relay|webhooks|publisher"'
_HARMLESS: Final = 'verdict!~"ok|incomplete|replaying"'

OVERVIEW: Final = Board(
    "overview",
    "overview",
    "How old the figures are, whether anything is stuck, and where to look next.",
    (
        (
            "Now",
            (
                Panel(
                    "Alerts that fire",
                    (('count(ALERTS{alertstate="firing", alertname=~"Scores.+"}) or vector(0)', "alerts"),),
                    shape=Shape.NUMBER,
                    limits=(1,),
                    width=4,
                ),
                Panel(
                    "Late changes in an hour",
                    (("scores:freshness_late:ratio_rate1h", "{{seen}}"),),
                    unit="percentunit",
                    shape=Shape.NUMBER,
                    limits=(0.01,),
                    width=4,
                    why="Later than 2 s; the objective allows 1%. Canaries that never arrived count as late.",
                ),
                Panel(
                    "Worst lag",
                    ((f"max(scores:reader:lag_seconds{{{_OURS}}})", "seconds"),),
                    unit="s",
                    shape=Shape.NUMBER,
                    limits=(5, 60),
                    width=4,
                    why="How long the oldest record that one of our readers has not read has been there.",
                ),
                Panel(
                    "Open streams", (("sum(scores_sse_connections)", "streams"),), shape=Shape.NUMBER, width=4
                ),
                Panel(
                    "Results a second",
                    (("sum(rate(scores_events_total[1m]))", "events"),),
                    unit="ops",
                    shape=Shape.NUMBER,
                    width=4,
                ),
                Panel(
                    "Rejected in an hour",
                    (("sum(increase(scores_rejected_total[1h]))", "rejected"),),
                    shape=Shape.NUMBER,
                    limits=(1,),
                    width=4,
                ),
            ),
        ),
        (
            "Freshness: 99% of changes on screens within 2 s",
            (
                Panel(
                    "99% of changes are on screens within",
                    (("scores:freshness_seconds:p99_5m", "{{seen}}"),),
                    unit="s",
                    limits=(2,),
                ),
                Panel(
                    "Share of late changes",
                    (
                        ("scores:freshness_late:ratio_rate1h", "{{seen}}, an hour"),
                        ("scores:freshness_late:ratio_rate6h", "{{seen}}, six hours"),
                        ("scores:freshness_late:ratio_rate3d", "{{seen}}, three days"),
                    ),
                    unit="percentunit",
                    limits=(0.01,),
                ),
                Panel(
                    "How fast the error budget burns",
                    (
                        ("scores:freshness_late:ratio_rate5m / 0.01", "{{seen}}, five minutes"),
                        ("scores:freshness_late:ratio_rate1h / 0.01", "{{seen}}, an hour"),
                    ),
                    limits=(1, 14.4),
                    why="At 1 it lasts for 30 days. At 14.4, two percent of it go in an hour, and somebody is woken.",
                ),
                Panel(
                    "Canary: where the time goes",
                    quantiles("scores_canary_latency_seconds", "stage"),
                    unit="s",
                    width=12,
                ),
                Panel(
                    "Canaries, sent and lost",
                    (
                        ("sum(increase(scores_canary_sent_total[5m]))", "sent"),
                        (
                            'sum by (stage) (increase(scores_canary_lost_total{stage!="total"}[5m]))',
                            "lost: {{stage}}",
                        ),
                    ),
                    width=12,
                ),
            ),
        ),
        (
            "Verdicts: a bar while something is not fine",
            (
                Panel(
                    "Readers",
                    ((f"scores:reader:state{{{_HARMLESS}}} == 1", "{{group}} {{topic}}: {{verdict}}"),),
                    shape=Shape.TIMELINE,
                    limits=(1,),
                ),
                Panel(
                    "Parts",
                    ((f"scores:part:state{{{_HARMLESS}}} == 1", "{{part}}: {{verdict}}"),),
                    shape=Shape.TIMELINE,
                    limits=(1,),
                ),
                Panel(
                    "Alerts",
                    (
                        (
                            'sum by (alertname, severity) (ALERTS{alertstate="firing", alertname=~"Scores.+"})',
                            "{{alertname}} ({{severity}})",
                        ),
                    ),
                    shape=Shape.TIMELINE,
                    limits=(1,),
                ),
            ),
        ),
        (
            "Processes",
            (
                Panel("Answering", (("scores:processes:up", "{{job}}"),)),
                Panel("Versions", (("count by (job, version) (scores_build_info)", "{{job}} {{version}}"),)),
                Panel(
                    "Starts in an hour",
                    (("sum by (job) (changes(scores_started_timestamp_seconds[1h]))", "{{job}}"),),
                    limits=(4,),
                ),
            ),
        ),
    ),
)

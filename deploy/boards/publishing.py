"""What leaves the tables: the publisher, the relay, webhooks."""

from __future__ import annotations

from typing import Final

from deploy.panels import Board, Panel
from deploy.queries import quantiles, rate

PUBLISHING: Final = Board(
    "publishing",
    "publisher, relay and webhooks",
    "What leaves the tables for masked viewers, for Kafka and for the systems of districts.",
    (
        (
            "Publisher",
            (
                Panel(
                    "Last round ended",
                    (("time() - max(scores_publisher_last_round_timestamp_seconds > 0)", "so long ago"),),
                    unit="s",
                    limits=(300,),
                    width=6,
                ),
                Panel("Waits for tables", (("max(scores_publisher_waiting)", "waiting"),), width=6),
                Panel(
                    "Rounds, writes and cells published",
                    (
                        *rate("scores_publisher_rounds_total"),
                        *rate("scores_publisher_writes_total"),
                        *rate("scores_publisher_cells_total"),
                    ),
                    unit="ops",
                    width=6,
                ),
                Panel("A write takes", quantiles("scores_publisher_write_seconds"), unit="s", width=6),
            ),
        ),
        (
            "Relay",
            (
                Panel("Active", (("scores_relay_active", "{{instance}}"),), width=6),
                Panel(
                    "Everything was in Kafka",
                    (("time() - max(scores_relay_last_round_timestamp_seconds > 0)", "so long ago"),),
                    unit="s",
                    limits=(30,),
                    width=6,
                ),
                Panel(
                    "Records by topic",
                    (*rate("scores_relay_records_total", "topic"), *rate("scores_relay_rounds_total")),
                    unit="ops",
                    width=6,
                ),
                Panel(
                    "Read anew, and accidents",
                    (
                        *rate("scores_relay_read_anew_total", "reason"),
                        *rate("scores_relay_accidents_total", "kind"),
                    ),
                    unit="ops",
                    width=6,
                ),
            ),
        ),
        (
            "Webhooks",
            (
                Panel("Attempts by result", rate("scores_webhook_attempts_total", "result"), unit="ops"),
                Panel("An attempt takes", quantiles("scores_webhook_attempt_seconds"), unit="s"),
                Panel(
                    "From a message's making to its delivery",
                    quantiles("scores_webhook_delivery_seconds"),
                    unit="s",
                ),
                Panel(
                    "Waiting",
                    (
                        ("sum(scores_webhook_queue_depth)", "messages"),
                        ("sum(scores_webhook_pending)", "organizations to tell of"),
                        ("sum(scores_webhook_lag_records)", "records to read"),
                    ),
                ),
                Panel(
                    "Attempts under way",
                    (("sum by (endpoints) (scores_webhook_attempts_under_way)", "{{endpoints}}"),),
                ),
                Panel("Endpoints by state", (("sum by (state) (scores_webhook_endpoints)", "{{state}}"),)),
                Panel(
                    "Disabled, given up, answering again",
                    (
                        *rate("scores_webhook_disabled_total", "reason"),
                        *rate("scores_webhook_given_up_total"),
                        *rate("scores_webhook_revived_total"),
                    ),
                    unit="ops",
                ),
                Panel(
                    "Records taken in, and those that could not be read",
                    (
                        *rate("scores_webhook_records_total"),
                        *rate("scores_webhook_unreadable_records_total"),
                    ),
                    unit="ops",
                ),
                Panel(
                    "Workers that deliver, and how often one began to",
                    (
                        ("sum(scores_webhook_active)", "active"),
                        ("sum(increase(scores_webhook_reigns_total[1h]))", "began, in an hour"),
                    ),
                ),
            ),
        ),
    ),
)

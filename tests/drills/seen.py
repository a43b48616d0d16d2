"""What somebody sees who looks at the monitor's metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx
from prometheus_client.parser import text_string_to_metric_families

from schemas.operations import Verdict, worst


@dataclass(frozen=True, slots=True)
class Seen:
    """One look.

    Attributes:
        verdicts: of readers and parts, by name; of a reader of several topics the worst.
        lag_seconds, ends: of readers by name (the worst topic), of topics by name.
    """

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    lag_seconds: Mapping[str, float] = field(default_factory=dict)
    ends: Mapping[str, float] = field(default_factory=dict)

    @property
    def alarming(self) -> dict[str, Verdict]:
        """Those that somebody must look at."""
        return {name: verdict for name, verdict in self.verdicts.items() if verdict.alarming}


NOTHING = Seen()


def look(metrics_port: int) -> Seen:
    """Ask the monitor for its metrics; ``NOTHING`` when it does not answer, or does not judge (yet)."""
    try:
        text = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics", timeout=2).text
    except httpx.HTTPError:
        return NOTHING
    return read(text)


def read(text: str) -> Seen:
    """What metrics in Prometheus' format say."""
    verdicts: dict[str, list[Verdict]] = {}
    lag: dict[str, float] = {}
    ends: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            match name:
                case "scores_consumer_state" | "scores_part_state" if value == 1:
                    subject = labels.get("group") or labels["part"]
                    verdicts.setdefault(subject, []).append(Verdict(labels["verdict"]))
                case "scores_consumer_lag_seconds":
                    lag[labels["group"]] = max(value, lag.get(labels["group"], 0.0))
                case "scores_topic_end_records":
                    ends[labels["topic"]] = value
                case _:
                    pass
    return Seen({subject: worst(found) for subject, found in verdicts.items()}, lag, ends)

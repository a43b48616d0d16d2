"""Settings of the monitor, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from consumers.lag.verdicts import Rules
from schemas.environment import Environment, SharedSettings


@dataclass(frozen=True, slots=True)
class Settings(SharedSettings):
    """How the monitor finds Kafka and Redis, and what it compares with; ``.env.example`` explains each."""

    streams_group: str
    webhooks_group: str
    every_seconds: float
    window_samples: int
    allowed_seconds: float
    stale_seconds: float
    lease_seconds: float
    metrics_port: int

    @property
    def rules(self) -> Rules:
        """What the verdicts compare with."""
        return rules_for(
            self.every_seconds,
            window_samples=self.window_samples,
            allowed_seconds=self.allowed_seconds,
            stale_seconds=self.stale_seconds,
        )

    @classmethod
    def from_env(cls, variables: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        Raises:
            InvalidInput: all faults at once.
        """
        env = Environment(variables)
        settings = cls(
            **SharedSettings.read(env),
            streams_group=env.text("SCORES_STREAMS_GROUP", "score-streams"),
            webhooks_group=env.text("SCORES_WEBHOOKS_GROUP", "webhooks"),
            every_seconds=env.seconds("SCORES_LAG_EVERY_SECONDS", 5, low=1, high=60),
            window_samples=env.integer("SCORES_LAG_WINDOW_SAMPLES", 12, low=6, high=120),
            allowed_seconds=env.seconds("SCORES_LAG_ALLOWED_SECONDS", 5, low=0, high=3600),
            stale_seconds=env.seconds("SCORES_LAG_STALE_SECONDS", 60, low=5, high=3600),
            lease_seconds=env.seconds("SCORES_LAG_LEASE_SECONDS", 15, low=2, high=120),
            metrics_port=env.integer("SCORES_LAG_METRICS_PORT", 0, low=0, high=65535),
        )
        if settings.lease_seconds < 2 * settings.every_seconds:
            env.refuse(
                f"SCORES_LAG_LEASE_SECONDS is '{settings.lease_seconds:g}'; expected at least twice "
                f"SCORES_LAG_EVERY_SECONDS ({settings.every_seconds:g}), or another monitor takes over between two samples"
            )
        env.check()
        return settings


def rules_for(
    every_seconds: float, *, window_samples: int, allowed_seconds: float, stale_seconds: float
) -> Rules:
    """Rules for samples that are taken so often."""
    return Rules(
        window_samples=window_samples,
        allowed_seconds=allowed_seconds,
        # Workers tell of themselves each second or two, members of a group within their session time.
        silent_seconds=max(10.0, 4 * every_seconds),
        stale_seconds=stale_seconds,
    )

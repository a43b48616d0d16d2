"""Settings of the relay, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.environment import Environment, SharedSettings


@dataclass(frozen=True, slots=True)
class Settings(SharedSettings):
    """How the relay finds Kafka and Redis and how it works; ``.env.example`` explains each."""

    round_seconds: float
    lease_seconds: float
    dependency_budget_seconds: float
    metrics_port: int

    @classmethod
    def from_env(cls, variables: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        Raises:
            InvalidInput: all faults at once.
        """
        env = Environment(variables)
        settings = cls(
            **SharedSettings.read(env),
            round_seconds=env.seconds("SCORES_RELAY_SECONDS", 0.2, low=0.01, high=60),
            lease_seconds=env.seconds("SCORES_RELAY_LEASE_SECONDS", 5.0, low=1, high=60),
            dependency_budget_seconds=env.seconds("SCORES_DEPENDENCY_BUDGET_SECONDS", 60.0, low=1, high=3600),
            metrics_port=env.integer("SCORES_RELAY_METRICS_PORT", 0, low=0, high=65535),
        )
        env.check()
        return settings

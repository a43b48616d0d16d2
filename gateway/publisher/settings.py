"""Settings of the publisher, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.environment import Environment, SharedSettings


@dataclass(frozen=True, slots=True)
class Settings(SharedSettings):
    """How the publisher finds Redis and how often it publishes; ``.env.example`` explains each."""

    publish_seconds: float
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
            publish_seconds=publish_seconds(env),
            metrics_port=env.integer("SCORES_PUBLISHER_METRICS_PORT", 0, low=0, high=65535),
        )
        env.check()
        return settings


def publish_seconds(env: Environment) -> float:
    """How often figures are published; the gateway reads it too, to say for how long an answer may be kept."""
    return env.seconds("SCORES_PUBLISH_SECONDS", 60, low=1, high=86_400)

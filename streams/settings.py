"""Settings of the stream worker, read once from the environment."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from schemas.environment import Environment, SharedSettings
from schemas.keys import Attribution
from schemas.tracing import TracingSettings


@dataclass(frozen=True, slots=True)
class Settings(SharedSettings):
    """How one worker finds Kafka and Redis and how it works; ``.env.example`` explains each."""

    group: str
    instance_id: str
    static_membership: bool
    attribution: Attribution
    batch_records: int
    fetch_wait_ms: int
    session_timeout_seconds: float
    commit_seconds: float
    dependency_budget_seconds: float
    stall_seconds: float
    metrics_port: int
    tracing: TracingSettings

    @classmethod
    def from_env(cls, variables: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        Raises:
            InvalidInput: all faults at once.
        """
        env = Environment(variables)
        instance = env.text("SCORES_INSTANCE_ID", "-")
        settings = cls(
            **SharedSettings.read(env),
            group=env.text("SCORES_STREAMS_GROUP", "score-streams"),
            instance_id=socket.gethostname() if instance == "-" else instance,
            static_membership=instance != "-"
            and env.choice("SCORES_STATIC_MEMBERSHIP", "yes", ("no", "yes")) == "yes",
            attribution=cast(Attribution, env.choice("SCORES_ATTRIBUTION", "current", ("current", "tested"))),
            batch_records=env.integer("SCORES_BATCH_RECORDS", 5_000, low=1, high=20_000),
            fetch_wait_ms=env.integer("SCORES_FETCH_WAIT_MS", 100, low=1, high=10_000),
            session_timeout_seconds=env.seconds("SCORES_SESSION_TIMEOUT_SECONDS", 10.0, low=2, high=60),
            commit_seconds=env.seconds("SCORES_COMMIT_SECONDS", 5.0, low=0, high=3600),
            dependency_budget_seconds=env.seconds("SCORES_DEPENDENCY_BUDGET_SECONDS", 60.0, low=1, high=3600),
            stall_seconds=env.seconds("SCORES_STALL_SECONDS", 60.0, low=1, high=3600),
            metrics_port=env.integer("SCORES_STREAMS_METRICS_PORT", 0, low=0, high=65535),
            tracing=TracingSettings.read(env),
        )
        env.check()
        return settings

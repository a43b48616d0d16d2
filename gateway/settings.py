"""Settings of the gateway, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.connections import ConnectionLimits
from gateway.imports.settings import ImportSettings
from gateway.stream import StreamLimits
from gateway.subscriptions import SubscriptionLimits
from gateway.tokens import ALGORITHMS
from schemas.environment import Environment, SharedSettings

DEVELOPMENT_ISSUER: Final = "https://issuer.scores.test/"
DEVELOPMENT_AUDIENCE: Final = "score-streaming"


@dataclass(frozen=True, slots=True)
class Settings(SharedSettings):
    """How one gateway finds Redis and Kafka, whom it believes and how it serves; ``.env.example`` explains each."""

    environment: str
    imports: ImportSettings
    host: str
    port: int
    trusted_proxies: str
    jwks_file: Path
    token_issuer: str
    token_audience: str
    token_algorithms: tuple[str, ...]
    streams: StreamLimits
    subscriptions: SubscriptionLimits
    connections: ConnectionLimits
    tick_seconds: float
    progress_seconds: float
    drain_seconds: float
    access_log: bool

    @classmethod
    def from_env(cls, variables: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        Raises:
            InvalidInput: all faults at once.
        """
        env = Environment(variables)
        environment = env.choice("SCORES_ENVIRONMENT", "development", ("development", "production"))
        trying_out = environment == "development"
        settings = cls(
            environment=environment,
            **SharedSettings.read(env),
            imports=ImportSettings.read(env),
            host=env.text("SCORES_GATEWAY_HOST", "127.0.0.1"),
            port=env.integer("SCORES_GATEWAY_PORT", 8080, low=1, high=65535),
            trusted_proxies=env.text("SCORES_TRUSTED_PROXIES", "127.0.0.1"),
            jwks_file=Path(env.text("SCORES_JWKS_FILE")),
            # In production nobody's tokens are believed by default.
            token_issuer=env.text("SCORES_TOKEN_ISSUER", DEVELOPMENT_ISSUER if trying_out else None),
            token_audience=env.text("SCORES_TOKEN_AUDIENCE", DEVELOPMENT_AUDIENCE if trying_out else None),
            token_algorithms=_algorithms(env),
            streams=StreamLimits(
                max_age_seconds=env.seconds("SCORES_STREAM_MAX_AGE_SECONDS", 600, low=1, high=86_400),
                heartbeat_seconds=env.seconds("SCORES_HEARTBEAT_SECONDS", 15, low=1, high=60),
                send_timeout_seconds=env.seconds("SCORES_SEND_TIMEOUT_SECONDS", 10, low=0.1, high=300),
            ),
            subscriptions=SubscriptionLimits(
                topics=env.integer("SCORES_STREAM_TOPICS", 500, low=1, high=10_000),
                organizations=env.integer("SCORES_STREAM_ORGANIZATIONS", 2_000, low=1, high=20_000),
            ),
            connections=ConnectionLimits(
                per_subject=env.integer("SCORES_STREAMS_PER_SUBJECT", 50, low=1, high=1_000_000),
                per_address=env.integer("SCORES_STREAMS_PER_ADDRESS", 2_000, low=1, high=1_000_000),
                per_node=env.integer("SCORES_STREAMS_PER_NODE", 20_000, low=1, high=1_000_000),
            ),
            tick_seconds=env.seconds("SCORES_TICK_SECONDS", 0.01, low=0, high=5),
            progress_seconds=env.seconds("SCORES_PROGRESS_SECONDS", 2, low=0.1, high=60),
            drain_seconds=env.seconds("SCORES_DRAIN_SECONDS", 1, low=0, high=300),
            access_log=env.choice("SCORES_ACCESS_LOG", "no", ("no", "yes")) == "yes",
        )
        env.check()
        return settings


def _algorithms(env: Environment) -> tuple[str, ...]:
    named = env.choice("SCORES_TOKEN_ALGORITHM", "any", ("any", *ALGORITHMS))
    return ALGORITHMS if named == "any" else (named,)

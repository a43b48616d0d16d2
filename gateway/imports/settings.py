"""How much the import endpoint takes at a time, and how long it remembers."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.environment import Environment

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """Limits of one request and of all together; ``.env.example`` explains each."""

    request_bytes: int = 64 * _MIB
    request_documents: int = 1_000
    request_seconds: float = 120.0  # for the whole body to arrive
    waiting_bytes: int = 256 * _MIB  # bodies held in memory by all requests together
    keep_days: int = 400
    redis_seconds: float = 2.0  # for each step in Redis
    produce_seconds: float = 5.0  # for Kafka's acknowledgement

    @classmethod
    def read(cls, env: Environment) -> ImportSettings:
        """Ask for every setting; the caller checks ``env``."""
        return cls(
            request_bytes=env.integer("SCORES_IMPORT_REQUEST_MIB", 64, low=1, high=1024) * _MIB,
            request_documents=env.integer("SCORES_IMPORT_REQUEST_DOCUMENTS", 1_000, low=1, high=10_000),
            request_seconds=env.seconds("SCORES_IMPORT_REQUEST_SECONDS", 120.0, low=1, high=3600),
            waiting_bytes=env.integer("SCORES_IMPORT_WAITING_MIB", 256, low=1, high=65_536) * _MIB,
            keep_days=env.integer("SCORES_IMPORT_KEEP_DAYS", 400, low=1, high=3650),
            redis_seconds=env.seconds("SCORES_IMPORT_REDIS_SECONDS", 2.0, low=0.1, high=60),
            produce_seconds=env.seconds("SCORES_KAFKA_PRODUCE_SECONDS", 5.0, low=0.5, high=60),
        )

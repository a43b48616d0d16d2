"""Settings of a canary, read once from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.canary import NUMBERS
from schemas.environment import Environment

_URL: Final = re.compile(r"https?://[^\s?#]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a canary finds what it watches, and what it takes for lost; ``.env.example`` explains each.

    The secret behind students' pseudonyms is none of them: like every sender, it has the gateway make them.
    """

    kafka: str
    redis_url: str
    redis_cluster: bool
    log_format: str
    gateway_url: str
    token_file: Path
    number: int
    every_seconds: float
    lost_seconds: float
    webhook_host: str
    webhook_port: int
    webhook_url: str
    metrics_port: int

    @classmethod
    def from_env(cls, variables: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        Raises:
            InvalidInput: all faults at once.
        """
        env = Environment(variables)
        port = env.integer("SCORES_CANARY_WEBHOOK_PORT", 0, low=0, high=65535)
        settings = cls(
            kafka=env.addresses("SCORES_KAFKA", "127.0.0.1:9092"),
            redis_url=env.redis_url("SCORES_REDIS_URL", "redis://127.0.0.1:6379/0"),
            redis_cluster=env.choice("SCORES_REDIS_CLUSTER", "no", ("no", "yes")) == "yes",
            log_format=env.choice("SCORES_LOG_FORMAT", "text", ("text", "json")),
            gateway_url=env.text("SCORES_CANARY_GATEWAY", "http://127.0.0.1:8080").rstrip("/"),
            token_file=Path(env.text("SCORES_CANARY_TOKEN_FILE", "/run/secrets/canary-token")),
            number=env.integer("SCORES_CANARY_NUMBER", 1, low=NUMBERS[0], high=NUMBERS[-1]),
            every_seconds=env.seconds("SCORES_CANARY_EVERY_SECONDS", 10, low=1, high=600),
            lost_seconds=env.seconds("SCORES_CANARY_LOST_SECONDS", 30, low=1, high=600),
            webhook_host=env.text("SCORES_CANARY_WEBHOOK_HOST", "127.0.0.1"),
            webhook_port=port,
            webhook_url=env.text("SCORES_CANARY_WEBHOOK_URL", f"http://127.0.0.1:{port}"),
            metrics_port=env.integer("SCORES_CANARY_METRICS_PORT", 0, low=0, high=65535),
        )
        for name, url in (
            ("SCORES_CANARY_GATEWAY", settings.gateway_url),
            ("SCORES_CANARY_WEBHOOK_URL", settings.webhook_url),
        ):
            if not _URL.fullmatch(url):
                env.refuse(f"{name} is '{url}'; expected https://host or http://host:port")
        env.check()
        return settings

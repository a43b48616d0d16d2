"""Settings of the webhook worker, read once from the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Final

from consumers.webhooks.delivery_settings import DeliverySettings
from schemas.environment import Environment, SharedSettings
from schemas.process.audit.settings import AuditSettings
from schemas.tracing import TracingSettings
from schemas.webhooks.deployment import WebhookDeployment

_URL: Final = re.compile(r"https?://[^\s?#]+")


@dataclass(frozen=True, slots=True)
class Settings(SharedSettings):
    """How one worker finds Kafka and Redis, and how it delivers; ``.env.example`` explains each."""

    deployment: WebhookDeployment
    delivery: DeliverySettings
    audit: AuditSettings
    roles_file: Path | None
    public_url: str
    group: str
    lease_seconds: float
    authorities: Path | None
    refused_networks: tuple[IPv4Network | IPv6Network, ...]
    metrics_port: int
    tracing: TracingSettings

    @classmethod
    def from_env(cls, variables: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        Raises:
            InvalidInput: all faults at once.
        """
        env = Environment(variables)
        environment = env.choice("SCORES_ENVIRONMENT", "development", ("development", "production"))
        public_url = env.text("SCORES_PUBLIC_URL", "http://127.0.0.1:8080")
        if not _URL.fullmatch(public_url):
            env.refuse(
                f"SCORES_PUBLIC_URL is '{public_url}'; expected https://host, as receivers reach the gateway"
            )
        settings = cls(
            **SharedSettings.read(env),
            deployment=WebhookDeployment.read(env),
            delivery=DeliverySettings.read(env),
            audit=AuditSettings.read(env, production=environment == "production"),
            roles_file=_file(env.text("SCORES_ROLES_FILE", "-")),
            public_url=public_url.rstrip("/"),
            group=env.text("SCORES_WEBHOOKS_GROUP", "webhooks"),
            lease_seconds=env.seconds("SCORES_WEBHOOKS_LEASE_SECONDS", 5, low=1, high=60),
            authorities=_file(env.text("SCORES_WEBHOOKS_CA_FILE", "-")),
            refused_networks=tuple(_networks(env)),
            metrics_port=env.integer("SCORES_WEBHOOKS_METRICS_PORT", 0, low=0, high=65535),
            tracing=TracingSettings.read(env),
        )
        if settings.deployment.key is None:
            env.refuse("SCORES_WEBHOOK_KEY is not set; the worker opens the endpoints' secrets with it")
        env.check()
        return settings


def _networks(env: Environment) -> Iterator[IPv4Network | IPv6Network]:
    written = env.text("SCORES_WEBHOOK_REFUSED_NETWORKS", "-")
    for network in () if written == "-" else written.split(","):
        try:
            yield ip_network(network.strip())
        except ValueError:
            env.refuse(
                f"SCORES_WEBHOOK_REFUSED_NETWORKS has '{network}'; expected networks such as 203.0.113.0/24, separated by commas"
            )


def _file(name: str) -> Path | None:
    return None if name == "-" else Path(name)

"""Settings of the gateway, read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.connections import ConnectionLimits
from gateway.fetched_keys import RefreshTimes
from gateway.imports.settings import ImportSettings
from gateway.issuers import IssuerSettings, read_issuers
from gateway.origins import read_origins
from gateway.public_settings import PublicSettings
from gateway.stream import StreamLimits
from gateway.subscriptions import SubscriptionLimits
from gateway.webhooks.settings import WebhookSettings
from schemas.environment import Environment, SharedSettings
from schemas.process.audit.settings import AuditSettings
from schemas.tracing import TracingSettings


@dataclass(frozen=True, slots=True)
class Settings(SharedSettings):
    """How one gateway finds Redis and Kafka, whom it believes and how it serves; ``.env.example`` explains each."""

    environment: str
    imports: ImportSettings
    audit: AuditSettings
    host: str
    port: int
    trusted_proxies: str
    issuers: tuple[IssuerSettings, ...]
    key_times: RefreshTimes
    roles_file: Path | None
    revocations_away_seconds: float
    allowed_origins: tuple[str, ...]
    streams: StreamLimits
    subscriptions: SubscriptionLimits
    connections: ConnectionLimits
    tick_seconds: float
    io_uring: bool  # write to many streams by one system call, where the kernel can
    progress_seconds: float
    drain_seconds: float
    access_log: bool
    public: PublicSettings
    webhooks: WebhookSettings
    tracing: TracingSettings
    runbooks: str = ""  # where operators read on; empty: nowhere but in docs/

    @classmethod
    def from_env(cls, variables: Mapping[str, str]) -> Settings:
        """Read and check every setting.

        Raises:
            InvalidInput: all faults at once.
        """
        env = Environment(variables)
        environment = env.choice("SCORES_ENVIRONMENT", "development", ("development", "production"))
        production = environment == "production"
        settings = cls(
            environment=environment,
            **SharedSettings.read(env),
            imports=ImportSettings.read(env),
            audit=AuditSettings.read(env, production=production),
            host=env.text("SCORES_GATEWAY_HOST", "127.0.0.1"),
            port=env.integer("SCORES_GATEWAY_PORT", 8080, low=1, high=65535),
            trusted_proxies=env.text("SCORES_TRUSTED_PROXIES", "127.0.0.1"),
            issuers=read_issuers(env, production=production),
            key_times=RefreshTimes(
                every_seconds=env.seconds("SCORES_JWKS_REFRESH_SECONDS", 300, low=10, high=3_600),
                longest_age_seconds=env.seconds("SCORES_JWKS_MAX_AGE_SECONDS", 3_600, low=60, high=86_400),
            ),
            roles_file=_file(env.text("SCORES_ROLES_FILE", "-")),
            revocations_away_seconds=env.seconds("SCORES_REVOCATIONS_AWAY_SECONDS", 10, low=2, high=300),
            allowed_origins=read_origins(env),
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
            io_uring=env.choice("SCORES_IO_URING", "yes", ("no", "yes")) == "yes",
            tick_seconds=env.seconds("SCORES_TICK_SECONDS", 0.01, low=0, high=5),
            progress_seconds=env.seconds("SCORES_PROGRESS_SECONDS", 2, low=0.1, high=60),
            drain_seconds=env.seconds("SCORES_DRAIN_SECONDS", 1, low=0, high=300),
            access_log=env.choice("SCORES_ACCESS_LOG", "no", ("no", "yes")) == "yes",
            public=PublicSettings.read(env),
            webhooks=WebhookSettings.read(env),
            tracing=TracingSettings.read(env),
            runbooks=_runbooks(env),
        )
        env.check()
        return settings


def _runbooks(env: Environment) -> str:
    address = env.text("SCORES_RUNBOOKS_URL", "-")
    if address == "-":
        return ""
    # It becomes a link on a page: whatever else a browser takes for an address must not get there.
    if not address.startswith(("https://", "http://")) or "#" in address:
        env.refuse(
            f"SCORES_RUNBOOKS_URL is '{address[:200]}'; expected the http or https address of a page, without #"
        )
    return address


def _file(name: str) -> Path | None:
    return None if name == "-" else Path(name)

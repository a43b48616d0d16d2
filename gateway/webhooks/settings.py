"""How many webhook endpoints a deployment keeps, and for how long a replaced secret still signs."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.environment import Environment
from schemas.webhooks.deployment import WebhookDeployment


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """The gateway's part of the webhooks; ``.env.example`` explains each."""

    deployment: WebhookDeployment
    per_subject: int = 50
    most: int = 10_000  # a delivering worker has them all in memory
    overlap_seconds: float = 86_400.0

    @property
    def are_open(self) -> bool:
        """Whether this deployment has webhooks."""
        return self.deployment.key is not None

    @classmethod
    def read(cls, env: Environment) -> WebhookSettings:
        """Ask for every setting; the caller checks ``env``."""
        return cls(
            WebhookDeployment.read(env),
            per_subject=env.integer("SCORES_WEBHOOKS_PER_SUBJECT", 50, low=1, high=10_000),
            most=env.integer("SCORES_WEBHOOKS_MOST", 10_000, low=1, high=100_000),
            overlap_seconds=env.seconds("SCORES_WEBHOOK_OVERLAP_SECONDS", 86_400, low=1, high=2_592_000),
        )

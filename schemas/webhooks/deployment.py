"""What a deployment says of webhooks to both sides: to the gateway, which keeps endpoints, and to the delivering worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from schemas.environment import Environment, Secret
from schemas.errors import InvalidInput
from schemas.webhooks.secrets import SecretBox


@dataclass(frozen=True, slots=True)
class WebhookDeployment:
    """Settings that gateway and worker must have alike.

    Attributes:
        key: encrypts the endpoints' secrets; None: this deployment has no webhooks.
        former_keys: what was encrypted under these can still be used; the worker's.
        allow_private: endpoints may ask for deliveries to addresses that are not public.
    """

    key: Secret | None
    allow_private: bool
    former_keys: tuple[Secret, ...] = ()

    @classmethod
    def read(cls, env: Environment) -> Self:
        """Both settings; the caller checks ``env``."""
        text = env.text("SCORES_WEBHOOK_KEY", "-")
        key = None if text == "-" else Secret(text.encode())
        words = env.text("SCORES_WEBHOOK_KEYS_FORMER", "-")
        former = () if words == "-" else tuple(Secret(word.strip().encode()) for word in words.split(","))
        if key is not None:
            try:
                SecretBox(key, *former)
            except InvalidInput as error:
                env.refuse(str(error))
        private = env.choice("SCORES_WEBHOOK_ALLOW_PRIVATE", "no", ("no", "yes")) == "yes"
        return cls(key, private, former)

    def box(self) -> SecretBox | None:
        """Opens the endpoints' secrets; None without webhooks."""
        return None if self.key is None else SecretBox(self.key, *self.former_keys)

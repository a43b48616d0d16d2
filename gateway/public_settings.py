"""Settings of the public view."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.publisher.settings import publish_seconds
from schemas.environment import Environment


@dataclass(frozen=True, slots=True)
class PublicSettings:
    """Whether there is a public view, and how often what it shows is published."""

    is_open: bool
    publish_seconds: float

    @classmethod
    def read(cls, env: Environment) -> PublicSettings:
        """The settings; the caller checks ``env``."""
        return cls(
            is_open=env.choice("SCORES_PUBLIC_VIEW", "off", ("off", "on")) == "on",
            publish_seconds=publish_seconds(env),
        )

"""How deliveries are tried, as the environment has it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Self

from consumers.webhooks.outcomes import Rules
from schemas.environment import Environment
from schemas.webhooks.retrying import ATTEMPT_SECONDS, SCHEDULE_SECONDS

_SCHEDULE: Final = re.compile(r"0(\.0+)?(,\d{1,6}(\.\d{1,3})?){1,29}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """Times and numbers of delivery; ``.env.example`` explains each.

    Attributes:
        slots: attempts under way at once, of all endpoints.
        slow_seconds: an endpoint that takes so long is slow (``consumers.webhooks.slots``).
    """

    rules: Rules = field(default_factory=Rules)
    attempt_seconds: float = ATTEMPT_SECONDS
    slots: int = 512
    slow_seconds: float = 2.0

    @classmethod
    def read(cls, env: Environment) -> Self:
        """All of them; the caller checks ``env``."""
        return cls(
            rules=Rules(
                schedule=_schedule(env),
                breaker_failures=env.integer("SCORES_WEBHOOK_BREAKER_FAILURES", 5, low=1, high=1_000),
                breaker_seconds=env.seconds("SCORES_WEBHOOK_BREAKER_SECONDS", 30.0, low=0, high=3_600),
                breaker_longest_seconds=env.seconds(
                    "SCORES_WEBHOOK_BREAKER_LONGEST_SECONDS", 900.0, low=0, high=86_400
                ),
                disable_seconds=env.seconds(
                    "SCORES_WEBHOOK_DISABLE_SECONDS", 432_000.0, low=1, high=2_592_000
                ),
            ),
            attempt_seconds=env.seconds("SCORES_WEBHOOK_ATTEMPT_SECONDS", 15.0, low=0.1, high=60),
            slots=env.integer("SCORES_WEBHOOK_SLOTS", 512, low=8, high=10_000),
            slow_seconds=env.seconds("SCORES_WEBHOOK_SLOW_SECONDS", 2.0, low=0.05, high=60),
        )


def _schedule(env: Environment) -> tuple[float, ...]:
    written = env.text("SCORES_WEBHOOK_SCHEDULE", "0,5,300,1800,7200,18000,36000,50400,72000,86400").replace(
        " ", ""
    )
    if not _SCHEDULE.fullmatch(written):
        env.refuse(
            f"SCORES_WEBHOOK_SCHEDULE is '{written}'; expected the seconds before each attempt, 2 to 30 of them separated by "
            "commas, the first of them 0, as in 0,5,300"
        )
        return SCHEDULE_SECONDS
    return tuple(float(seconds) for seconds in written.split(","))

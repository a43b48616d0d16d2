"""Kafka being away: told once, waited out within the budget, and then given up with a message that names the remedy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from schemas.errors import DependencyUnavailable
from streams.accidents import Accident, Accidents

logger = logging.getLogger(__name__)


class KafkaOutage:
    """Whether Kafka is away at present, and since when.

    Args:
        address: what messages call it.
        now: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        address: str,
        budget_seconds: float,
        accidents: Accidents,
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._address = address
        self._budget_seconds = budget_seconds
        self._accidents = accidents
        self._now = now
        self._since: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether it is away."""
        return self._since is not None

    def noticed(self, reason: str) -> None:
        """It did not serve us just now.

        Raises:
            DependencyUnavailable: it has not for longer than the budget.
        """
        now = self._now()
        if self._since is None:
            self._since = now
            self._accidents.happened(
                Accident.KAFKA_AWAY,
                address=self._address,
                budget_seconds=f"{self._budget_seconds:g}",
                error=reason,
            )
        if now - self._since >= self._budget_seconds:
            raise DependencyUnavailable(
                f"Kafka at {self._address} did not serve us within {self._budget_seconds:g} s "
                f"(SCORES_DEPENDENCY_BUDGET_SECONDS; {reason}); is it running, and is SCORES_KAFKA right? Nothing is lost: "
                "a worker resumes where the tables stand"
            )

    def over(self) -> None:
        """It serves us."""
        if self._since is not None:
            logger.info("kafka serves again after_seconds=%.1f", self._now() - self._since)
            self._since = None

"""Webhooks in the demo: an endpoint for a receiver of the demo's own, and a line for each delivery that it has verified."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from cli.local_stack import LocalStack
from cli.webhooks.client import WebhooksClient
from cli.webhooks.inbox import Delivery, Outcome
from cli.webhooks.listen import line_of
from cli.webhooks.receiving import LocalReceiver
from schemas.identifiers import OrganizationId
from schemas.webhooks.secrets import VerifyingKey, verifying_key

_INTERVAL_SECONDS: Final = 5  # often enough to see some within a short demo, seldom enough to read them
_SECRET_SECONDS: Final = 5.0  # below the 15 s that a delivery may take


class DemoWebhooks:
    """The receiver runs while this is entered."""

    def __init__(self, stack: LocalStack) -> None:
        """The stack has to run."""
        self._stack = stack
        self._keys: list[VerifyingKey] = []
        self._has_keys = threading.Event()
        self._lines: deque[str] = deque()
        self._counted: Counter[Outcome] = Counter()
        self._receiver = LocalReceiver(self._known_keys, self._note)

    def __enter__(self) -> Self:
        self._receiver.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._receiver.__exit__(kind, error, trace)

    @property
    def url(self) -> str:
        """Where deliveries go."""
        return self._receiver.url

    def follow(self, organizations: Sequence[OrganizationId], token: str) -> None:
        """Make an endpoint that is told of these, themselves and not what is below them.

        Raises:
            InvalidInput: the token may not.
            DependencyUnavailable: the gateway does not answer.
        """
        wanted = {
            "url": self.url,
            "follows": [{"organization": one, "below": False} for one in organizations],
            "interval_seconds": _INTERVAL_SECONDS,
            "payload": "full",  # so that there are figures to show
            "private_network": True,
            "signing": ["v1", "v1a"],
            "description": "the demo's own receiver",
        }
        with WebhooksClient(self._stack.gateway_url, token) as client:
            issued = client.create(wanted)
        self._keys = [verifying_key(one.secret) for one in issued.secrets]
        self._has_keys.set()

    def told(self) -> list[str]:
        """A line for each delivery since this was asked last."""
        return [self._lines.popleft() for _ in range(len(self._lines))]

    def summary(self) -> str:
        """How many there were, in a sentence."""
        counted = ", ".join(f"{self._counted[one]:,} {one.value}" for one in Outcome if self._counted[one])
        return f"Webhook deliveries: {counted or 'none'}."

    def _known_keys(self) -> Sequence[VerifyingKey]:
        # The question whether this address wants webhooks can be faster than the answer that has the secret.
        self._has_keys.wait(_SECRET_SECONDS)
        return self._keys

    def _note(self, delivery: Delivery) -> None:
        self._counted[delivery.outcome] += 1
        self._lines.append(f"webhook  {line_of(delivery)}")

"""A webhook worker with one guard removed, to prove that the fleet notices: ``python -m tests.webhook_fleet.faulty_worker``.

Production code has no hooks: this wraps its methods from outside, then runs its ``main``. FLEET_FAULT names the fault.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Final

from consumers.webhooks import rendering
from consumers.webhooks.__main__ import main
from consumers.webhooks.store import Store
from schemas.webhooks.ids import message_id


def forget_pending() -> None:
    """Offsets are written without what was taken from those records: that is in memory only."""
    noted = Store.add_pending

    def note(self: Store, *arguments: Any) -> list[Any]:
        noted(self, *arguments)
        return []

    setattr(Store, "add_pending", note)  # noqa: B010 (an assignment would be a type error: that is the fault)


def new_ids() -> None:
    """What is sent again after a crash has another id."""

    def random_id(endpoint: str, body: bytes) -> str:
        return message_id(endpoint, body + os.urandom(8))

    setattr(rendering, "message_id", random_id)  # noqa: B010


FAULTS: Final[dict[str, Callable[[], None]]] = {"pending": forget_pending, "ids": new_ids}

if __name__ == "__main__":
    FAULTS[os.environ["FLEET_FAULT"]]()
    sys.exit(main())

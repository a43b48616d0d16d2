"""A relay that fails around a publication: ``python tests/failing_relay.py``.

Production code has no hooks: this wraps publishing from outside, then runs ``main``. When the file that RELAY_FAILS names says
``die after`` or ``stand before``, it dies as by ``kill -9`` when Kafka has acknowledged and nothing is noted yet, or stops, as a
suspended machine does, with records in hand. The file is removed right before.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from streams.relay.__main__ import main
from streams.relay.publishing import TransactionalPublisher
from streams.relay.records import Outgoing

ARMED = Path(os.environ["RELAY_FAILS"])

_publish = TransactionalPublisher.publish


def fail_if_told(where: str) -> None:
    """End, or stop, if the file says so for this place."""
    if ARMED.exists() and (order := ARMED.read_text().split())[1:] == [where]:
        ARMED.unlink()
        os.kill(os.getpid(), {"die": signal.SIGKILL, "stand": signal.SIGSTOP}[order[0]])


async def publish_and_fail(publisher: TransactionalPublisher, records: Sequence[Outgoing]) -> None:
    """Publish, unless it is time to fail before or after."""
    fail_if_told("before")
    await _publish(publisher, records)
    fail_if_told("after")


if __name__ == "__main__":
    setattr(TransactionalPublisher, "publish", publish_and_fail)  # noqa: B010 (a method is not to be assigned)
    sys.exit(main())

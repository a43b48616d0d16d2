"""A publisher that dies between deciding and writing: ``python tests/failing_publisher.py``.

Production code has no hooks: this wraps the write from outside, then runs ``main``. It dies, as by ``kill -9``, before the
first write that shows something after the file that PUBLISHER_DIES names has come to be; the file is removed right before.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from gateway.publisher.__main__ import main
from gateway.publisher.publication import Publication
from gateway.publisher.tables import Claim, PublishedTables

ARMED = Path(os.environ["PUBLISHER_DIES"])

_publish = PublishedTables.publish


def die_if_told() -> None:
    """End this process as ``kill -9`` does."""
    if ARMED.exists():
        ARMED.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


async def publish_or_die(tables: PublishedTables, claim: Claim, publication: Publication) -> Claim:
    """Publish, unless it is time to die."""
    if publication.visible:
        die_if_told()
    return await _publish(tables, claim, publication)


if __name__ == "__main__":
    setattr(PublishedTables, "publish", publish_or_die)  # noqa: B010 (a method is not to be assigned)
    sys.exit(main())

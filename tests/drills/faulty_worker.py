"""A stream worker with a fault that comes and goes: ``python tests/drills/faulty_worker.py``.

Production code has no hooks: this replaces its methods from outside, then runs its ``main``. The fault is the content of the
file that DRILL_FAULT names: ``hang 0``, and it is alive and never finishes a batch of partition 0; ``forget 1``, and as leader
of its group it leaves partition 1 to nobody.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from faust.assignor import PartitionAssignor
from faust.assignor.client_assignment import ClientAssignment

from schemas.keys import PartitionKeys
from schemas.topics import EXAM_RESULTS
from streams import app
from streams.__main__ import main
from streams.tables import Tables

FAULT = Path(os.environ["DRILL_FAULT"])


def affected(fault: str) -> int | None:
    """The partition that has this fault now."""
    kind, _, partition = FAULT.read_text().partition(" ") if FAULT.exists() else ("", "", "")
    return int(partition) if kind == fault else None


class HangingTables(Tables):
    """Waits with the changes of one partition as long as the fault is there."""

    async def apply(self, keys: PartitionKeys, *rest: Any) -> Any:
        number = int(keys.position.partition("}")[0].rpartition(".")[2])
        while affected("hang") == number:  # noqa: ASYNC110  # a file has no event to wait for
            await asyncio.sleep(0.1)
        return await super().apply(keys, *rest)


class ForgetfulAssignor(PartitionAssignor):
    """Hands out all partitions but one."""

    def _protocol_assignments(self, assignments: MutableMapping[str, ClientAssignment], *rest: Any) -> Any:
        forgotten = affected("forget")
        for assignment in assignments.values():
            partitions = assignment.actives.get(EXAM_RESULTS, [])
            if forgotten in partitions:
                partitions.remove(forgotten)  # in place: the lists are in the other arguments, too
        return super()._protocol_assignments(assignments, *rest)


if __name__ == "__main__":
    # By name, because they are only imported there.
    for name, replacement in (("Tables", HangingTables), ("PartitionAssignor", ForgetfulAssignor)):
        setattr(app, name, replacement)
    sys.exit(main())

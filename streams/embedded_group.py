"""Consumer groups on the embedded broker, which refuses a member that is slower than its leader."""

from __future__ import annotations

import time
from typing import Any

from faust.assignor import PartitionAssignor

# The others need a few milliseconds; new processes on a busy machine, several hundred.
_OTHERS_FIRST_SECONDS = 0.5


class UnhurriedAssignor(PartitionAssignor):
    """Gives the other members time to ask for their partitions before the leader hands them out.

    The embedded broker ends a rebalance as soon as the leader has answered, and takes a member that asks afterwards for one
    that breaks the protocol (a real broker answers it).
    """

    def assign(self, *args: Any, **kwargs: Any) -> Any:
        """As the parent, a little later."""
        # In the thread of the group's membership, where nothing else is to be done meanwhile.
        time.sleep(_OTHERS_FIRST_SECONDS)
        return super().assign(*args, **kwargs)

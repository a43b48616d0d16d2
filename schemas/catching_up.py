"""Whether a partition's tables are whole, or still being built from the log; pure.

Tables that start from nothing (the first start on an old topic, or a Redis that lost everything) hold only a part of the
results until they have read as far as the log reached then. Figures of that time must say so.
"""

from __future__ import annotations


def tables_incomplete(*, claimed: bool, next_offset: int | None, catch_up: int | None) -> bool:
    """Whether results that were in the log before the tables began are missing from them.

    Args:
        claimed: whether any worker has taken the partition of these tables; before that, nobody knows what the log holds.
        next_offset: the offset to read next; None while nothing was applied.
        catch_up: the end that the log had when the tables began with nothing; None when the log was empty, too.
    """
    if not claimed:
        return True
    return catch_up is not None and (next_offset or 0) < catch_up

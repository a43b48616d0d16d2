"""``python -m tests.drills``: exit status 0 when every fault was noticed in time and nothing else was, 1 otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.drills.drills import DRILLS
from tests.drills.report import closing_table
from tests.drills.run import Options, run_drills
from tests.story import Ending, Say, command_parser, tell


def main(arguments: list[str]) -> int:
    """Run as the arguments say, and print the story and the closing table."""
    parser = command_parser("tests.drills", __doc__)
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples of the monitor")
    parser.add_argument("--only", action="append", choices=[drill.argument for drill in DRILLS], default=[])
    parser.add_argument("--pending", action="store_true", help="do not wait for alerts to fire")
    parser.add_argument(
        "--leeway", type=float, default=1, help="everything may take so many times longer than promised"
    )
    given = parser.parse_args(arguments)
    options = Options(
        every_seconds=given.every,
        drills=[drill for drill in DRILLS if not given.only or drill.argument in given.only],
        fire=not given.pending,
        leeway=given.leeway,
    )

    def carry_out(folder: Path, say: Say) -> Ending:
        outcomes = run_drills(options, folder, say)
        return Ending(closing_table(options, outcomes), any(outcome.failures for outcome in outcomes))

    return tell("drills", carry_out, keep=given.keep, left="Logs")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

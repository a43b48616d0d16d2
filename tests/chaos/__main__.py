"""``python -m tests.chaos``: exit status 0 when every comparison held and everything settled, 1 otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.chaos.disturbances import Kind
from tests.chaos.report import closing_table
from tests.chaos.run import Options, run_chaos
from tests.story import Ending, Say, add_kinds, add_servers, chosen, command_parser, tell


def main(arguments: list[str]) -> int:
    """Run as the arguments say, and print the story and the closing table."""
    parser = command_parser("tests.chaos", __doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=250, help="events a second")
    parser.add_argument("--session-seconds", type=float, default=6)
    parser.add_argument("--static-membership", action="store_true", help="each worker keeps its membership")
    add_servers(parser, kafka="real", redis="system")
    add_kinds(parser, Kind)
    given = parser.parse_args(arguments)
    options = Options(
        seconds=given.minutes * 60,
        seed=given.seed,
        workers=given.workers,
        rate=given.rate,
        real_kafka=given.kafka == "real",
        system_redis=given.redis == "system",
        session_seconds=given.session_seconds,
        static_membership=given.static_membership,
        kinds=chosen(Kind, given),
    )

    def carry_out(folder: Path, say: Say) -> Ending:
        result = run_chaos(options, folder, say)
        return Ending(closing_table(options, result), bool(result.failures))

    return tell("chaos", carry_out, keep=given.keep, left="Logs and differences", seed=options.seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``python -m tests.watching``: exit status 0 when every client ended with what the tables have, 1 otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.story import Ending, Say, add_kinds, add_servers, chosen, command_parser, tell
from tests.watching.cast import NAMES
from tests.watching.faults import Kind
from tests.watching.report import closing_tables
from tests.watching.run import Options, watch


def main(arguments: list[str]) -> int:
    """Run as the arguments say, and print the story and the closing tables."""
    parser = command_parser("tests.watching", __doc__)
    parser.add_argument("--minutes", type=float, default=5, help="at least; every kind of fault comes once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=60, help="events a second")
    parser.add_argument("--client", action="append", choices=NAMES, default=[])
    add_servers(parser, kafka="embedded", redis="embedded")
    add_kinds(parser, Kind)
    given = parser.parse_args(arguments)
    options = Options(
        seconds=given.minutes * 60,
        seed=given.seed,
        rate=given.rate,
        real_kafka=given.kafka == "real",
        system_redis=given.redis == "system",
        clients=given.client or NAMES,
        kinds=chosen(Kind, given) or tuple(Kind),
    )

    def carry_out(folder: Path, say: Say) -> Ending:
        result = watch(options, folder, say)
        return Ending(closing_tables(options, result), bool(result.failures))

    left = "Every client's frames and all logs"
    return tell("watching", carry_out, keep=given.keep, left=left, seed=options.seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

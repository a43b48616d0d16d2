"""``python -m tests.webhook_fleet``: exit status 0 when everybody ended with everything and nothing was wrong, 1 otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.story import Ending, Say, add_kinds, add_servers, chosen, command_parser, tell
from tests.webhook_fleet.faults import Kind
from tests.webhook_fleet.report import closing_table
from tests.webhook_fleet.run import Options, run_fleet


def main(arguments: list[str]) -> int:
    """Run as the arguments say, and print the story and the closing table."""
    parser = command_parser("tests.webhook_fleet", __doc__)
    parser.add_argument("--endpoints", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=5, help="of faults; every kind comes once at least")
    parser.add_argument(
        "--well-seconds", type=float, default=40, help="without the bad ones, and again with them"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=4, help="results a second")
    parser.add_argument("--no-relay", action="store_true", help="tell Kafka of changes without a relay")
    parser.add_argument(
        "--fault", help="a worker with this fault, to see that it is noticed (faulty_worker.py)"
    )
    add_servers(parser, kafka="embedded", redis="embedded")
    add_kinds(parser, Kind)
    given = parser.parse_args(arguments)
    options = Options(
        endpoints=given.endpoints,
        well_seconds=given.well_seconds,
        chaos_seconds=given.minutes * 60,
        seed=given.seed,
        rate=given.rate,
        real_kafka=given.kafka == "real",
        system_redis=given.redis == "system",
        fault=given.fault,
        relay=not given.no_relay,
        kinds=chosen(Kind, given)
        or [kind for kind in Kind if not given.no_relay or kind is not Kind.RELAY_KILLED],
    )

    def carry_out(folder: Path, say: Say) -> Ending:
        result = run_fleet(options, folder, say)
        return Ending(closing_table(options, result), bool(result.failures))

    return tell("webhooks", carry_out, keep=given.keep, left="Logs", seed=options.seed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``python -m tests.webhook_fleet``: exit status 0 when everybody ended with everything and nothing was wrong, 1 otherwise."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from schemas.errors import ScoreStreamError
from tests.webhook_fleet.faults import Kind
from tests.webhook_fleet.report import closing_table
from tests.webhook_fleet.run import Options, run_fleet


def main(arguments: list[str]) -> int:
    """Run as the arguments say, and print the story and the closing table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.webhook_fleet", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--endpoints", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=5, help="of faults; every kind comes once at least")
    parser.add_argument(
        "--well-seconds", type=float, default=40, help="without the bad ones, and again with them"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=4, help="results a second")
    parser.add_argument("--kafka", choices=["real", "embedded"], default="embedded")
    parser.add_argument("--redis", choices=["system", "embedded"], default="embedded")
    parser.add_argument("--no-relay", action="store_true", help="tell Kafka of changes without a relay")
    parser.add_argument("--only", action="append", choices=[kind.name.lower() for kind in Kind], default=[])
    parser.add_argument(
        "--fault", help="a worker with this fault, to see that it is noticed (faulty_worker.py)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs of a run that went well")
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
        kinds=[Kind[name.upper()] for name in given.only]
        or [kind for kind in Kind if not given.no_relay or kind is not Kind.RELAY_KILLED],
    )
    folder = Path(tempfile.mkdtemp(prefix="scores-webhooks-"))
    with (folder / "story.txt").open("w") as story:

        def say(line: str) -> None:
            print(line, flush=True)
            print(line, file=story, flush=True)

        try:
            result = run_fleet(options, folder, say)
        except (ScoreStreamError, AssertionError) as error:
            say(f"The run could not be carried out: {error}\nLogs are in {folder}")
            return 1
        say(closing_table(options, result))
    if result.failures:
        print(f"Seed {options.seed}. Logs are in {folder}")
        return 1
    if given.keep:
        print(f"Logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""``python -m tests.watching``: exit status 0 when every client ended with what the tables have, 1 otherwise."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from schemas.errors import ScoreStreamError
from tests.watching.cast import NAMES
from tests.watching.faults import Kind
from tests.watching.report import closing_tables
from tests.watching.run import Options, watch


def main(arguments: list[str]) -> int:
    """Run as the arguments say, and print the story and the closing tables."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.watching", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--minutes", type=float, default=5, help="at least; every kind of fault comes once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=60, help="events a second")
    parser.add_argument("--kafka", choices=["real", "embedded"], default="embedded")
    parser.add_argument("--redis", choices=["system", "embedded"], default="embedded")
    parser.add_argument("--client", action="append", choices=NAMES, default=[])
    parser.add_argument("--only", action="append", choices=[kind.name.lower() for kind in Kind], default=[])
    parser.add_argument(
        "--keep", action="store_true", help="keep the frames and logs of a run that went well"
    )
    given = parser.parse_args(arguments)
    options = Options(
        seconds=given.minutes * 60,
        seed=given.seed,
        rate=given.rate,
        real_kafka=given.kafka == "real",
        system_redis=given.redis == "system",
        clients=given.client or NAMES,
        kinds=[Kind[name.upper()] for name in given.only] or tuple(Kind),
    )
    folder = Path(tempfile.mkdtemp(prefix="scores-watching-"))
    with (folder / "story.txt").open("w") as story:

        def say(line: str) -> None:
            print(line, flush=True)
            print(line, file=story, flush=True)

        try:
            result = watch(options, folder, say)
        except (ScoreStreamError, AssertionError) as error:
            say(f"The run could not be carried out: {error}\nLogs are in {folder}")
            return 1
        say(closing_tables(options, result))
    if result.failures:
        print(f"Seed {options.seed}. Every client's frames and all logs are in {folder}")
        return 1
    if given.keep:
        print(f"Every client's frames and all logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

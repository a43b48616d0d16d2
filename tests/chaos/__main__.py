"""``python -m tests.chaos``: exit status 0 when every comparison held and everything settled, 1 otherwise."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from schemas.errors import ScoreStreamError
from tests.chaos.disturbances import Kind
from tests.chaos.report import closing_table
from tests.chaos.run import Options, run_chaos


def main(arguments: list[str]) -> int:
    """Run as the arguments say, and print the story and the closing table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--rate", type=float, default=250, help="events a second")
    parser.add_argument("--kafka", choices=["real", "embedded"], default="real")
    parser.add_argument("--redis", choices=["system", "embedded"], default="system")
    parser.add_argument("--session-seconds", type=float, default=6)
    parser.add_argument("--static-membership", action="store_true", help="each worker keeps its membership")
    parser.add_argument("--only", action="append", choices=[kind.name.lower() for kind in Kind], default=[])
    parser.add_argument("--keep", action="store_true", help="keep the logs of a run that went well")
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
        kinds=[Kind[name.upper()] for name in given.only],
    )
    folder = Path(tempfile.mkdtemp(prefix="scores-chaos-"))
    with (folder / "story.txt").open("w") as story:

        def say(line: str) -> None:
            print(line, flush=True)
            print(line, file=story, flush=True)

        try:
            result = run_chaos(options, folder, say)
        except (ScoreStreamError, AssertionError) as error:
            say(f"The run could not be carried out: {error}\nLogs are in {folder}")
            return 1
        say(closing_table(options, result))
    if result.failures:
        print(f"Seed {options.seed}. Logs and differences are in {folder}")
        return 1
    if given.keep:
        print(f"Logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

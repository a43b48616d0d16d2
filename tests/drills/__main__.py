"""``python -m tests.drills``: exit status 0 when every fault was noticed in time and nothing else was, 1 otherwise."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from schemas.errors import ScoreStreamError
from tests.drills.drills import DRILLS
from tests.drills.report import closing_table
from tests.drills.run import Options, run_drills


def main(arguments: list[str]) -> int:
    """Run as the arguments say, and print the story and the closing table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.drills", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples of the monitor")
    parser.add_argument("--only", action="append", choices=[drill.argument for drill in DRILLS], default=[])
    parser.add_argument("--pending", action="store_true", help="do not wait for alerts to fire")
    parser.add_argument("--keep", action="store_true", help="keep the logs of a run that went well")
    given = parser.parse_args(arguments)
    options = Options(
        every_seconds=given.every,
        drills=[drill for drill in DRILLS if not given.only or drill.argument in given.only],
        fire=not given.pending,
    )
    folder = Path(tempfile.mkdtemp(prefix="scores-drills-"))
    with (folder / "story.txt").open("w") as story:

        def say(line: str) -> None:
            print(line, flush=True)
            print(line, file=story, flush=True)

        try:
            outcomes = run_drills(options, folder, say)
        except (ScoreStreamError, AssertionError) as error:
            say(f"The drills could not be carried out: {error}\nLogs are in {folder}")
            return 1
        say(closing_table(options, outcomes))
    if any(outcome.failures for outcome in outcomes):
        print(f"Logs are in {folder}")
        return 1
    if given.keep:
        print(f"Logs are in {folder}")
    else:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How fast are stream engines that do the same job, and what is left of their figures after ``kill -9``?

    python -m bench.engines [--events 200000] [--runs 5] [--schools 200] [--only NAME ...] [--kill [5]]

One topic of a real Kafka, filled before with a season (JSON, about 500 bytes, keyed by student, a tenth rescored), is
read by each engine in turn within each run, into a fresh Redis of the same kind (``--redis``, by default the system's
redis-server), by one process on the same machine.
``bench.peers.job`` says what the peers do, and that it is less than ours.

The rate is taken from the first figures that are seen in Redis to the last, CPU likewise; where less than half of the
events came after the first figures, it says "about". At the end the figures of all cells
must equal a recount. An engine that needs longer than ``--limit`` seconds is stopped there; its rate is then taken from
the share of results that it has counted, and nothing can be said of its figures.

With ``--kill`` each engine counts the topic once more, is killed at so many moments, the same for all, and restarted as
its supervisor would; then its figures are compared. ``--runs 0`` leaves the first part out.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bench.environments import CannotSetUp
from bench.filled_topic import FilledTopic, filled_topic
from bench.measuring import middle, spread, table
from bench.probes import DecodedOnly
from bench.roster import CEILING, ENGINES, OURS, Engine
from bench.runs import EngineFailed, Survived, Timed, killed_run, timed_run


def main() -> None:
    """The command."""
    options = _options()
    engines = [
        engine for engine in ENGINES if (engine.name in options.only if options.only else engine.by_default)
    ]
    folder = Path(tempfile.mkdtemp(prefix="scores-bench-"))
    try:
        with filled_topic(folder, options.events, options.schools, options.seed) as filled:
            print(f"{filled.events:,} events of {options.schools} schools: {filled.kinds}", flush=True)
            print(
                f"Redis: {Path(options.redis).name if options.redis else 'the embedded server'}", flush=True
            )
            if options.runs:
                print(_speed(engines, filled, folder, options), flush=True)
            if options.kill:
                survivors = [engine for engine in engines if engine.probe is not DecodedOnly]
                print(_faults(survivors, filled, folder, options), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--schools", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", choices=[engine.name for engine in ENGINES]
    )
    parser.add_argument(
        "--redis",
        default=shutil.which("redis-server"),
        help="server program; the embedded one if there is none",
    )
    parser.add_argument("--limit", type=float, default=60.0, help="seconds that a run takes at most")
    parser.add_argument("--kill", type=int, nargs="?", const=5, default=0, metavar="TIMES")
    parser.add_argument(
        "--patience", type=float, default=30.0, help="seconds without change after which figures are final"
    )
    return parser.parse_args()


def _speed(engines: list[Engine], filled: FilledTopic, folder: Path, options: argparse.Namespace) -> str:
    found: dict[str, list[Timed]] = defaultdict(list)
    failed: dict[str, str] = {}
    for number in range(options.runs):
        for engine in engines:
            if engine.name in failed:
                continue
            group = f"{engine.name}-run{number}"
            try:
                timed = timed_run(
                    engine, filled, folder / group, group, limit_seconds=options.limit, server=options.redis
                )
            except (EngineFailed, CannotSetUp) as error:
                failed[engine.name] = str(error)
                _tell(f"run {number + 1}, {engine.title}: {error}")
                continue
            found[engine.name].append(timed)
            figures = "stopped at the limit" if timed.wrong is None else f"wrong: {timed.wrong}"
            _tell(f"run {number + 1}, {engine.title}: {timed.rate:,.0f}/s, {figures}")
    headings = ["engine", "events/s, median (min-max)", "ours is", "of the ceiling", "worker CPU us/event"]
    headings += ["Redis CPU us/event", "Kafka CPU us/event", "peak RSS, MB", "wrong", "what it promises"]
    return "\n" + table(headings, [_speed_row(engine, filled, found, failed) for engine in engines])


def _speed_row(
    engine: Engine, filled: FilledTopic, found: dict[str, list[Timed]], failed: dict[str, str]
) -> list[str]:
    if engine.name in failed:
        return [engine.title, f"does not run: {failed[engine.name]}", *["-"] * 7, engine.promises]
    timed = found[engine.name]
    ended = [run.wrong for run in timed if run.wrong is not None]
    worst = max(ended, key=lambda wrong: wrong.cells) if ended else None
    # An engine that shows its figures in large steps needs more events for a rate that can be trusted.
    about = "about " if min(run.events for run in timed) < filled.events / 2 and worst is not None else ""
    return [
        engine.title,
        about + spread([run.rate for run in timed]),
        _ratio(found[OURS.name], timed, "{:.1f}x"),
        _ratio(timed, found[CEILING.name], "{:.0%}"),
        middle((run.us_an_event(run.spent.worker) for run in timed), ".1f"),
        middle((run.us_an_event(run.spent.redis) for run in timed), ".1f"),
        middle((run.us_an_event(run.spent.kafka) for run in timed), ".1f"),
        middle(run.peak_bytes / 1e6 for run in timed),
        "stopped at the limit" if worst is None else str(worst),
        engine.promises,
    ]


def _ratio(over: list[Timed], under: list[Timed], form: str) -> str:
    """The median of the ratios of runs that were made side by side."""
    ratios = sorted(a.rate / b.rate for a, b in zip(over, under, strict=False) if b.events)
    return form.format(ratios[len(ratios) // 2]) if ratios else "-"


def _faults(engines: list[Engine], filled: FilledTopic, folder: Path, options: argparse.Namespace) -> str:
    rows = []
    for engine in engines:
        group = f"{engine.name}-kill"
        try:
            survived = killed_run(
                engine,
                filled,
                folder / group,
                group,
                seed=options.seed,
                kills=options.kill,
                patience=options.patience,
                server=options.redis,
            )
        except (EngineFailed, CannotSetUp) as error:
            _tell(f"killed, {engine.title}: {error}")
            rows.append([engine.title, "-", "-", f"does not run: {error}", "-", engine.promises])
            continue
        _tell(f"killed, {engine.title}: {survived}")
        rows.append(_fault_row(engine, survived))
    headings = ["engine", "kills (at work)", "right after the last kill in", "results wrong", "cells wrong"]
    return f"\nkill -9, seed {options.seed}\n\n" + table([*headings, "what it promises"], rows)


def _fault_row(engine: Engine, survived: Survived) -> list[str]:
    return [
        engine.title,
        f"{survived.kills} ({survived.at_work})",
        "never" if survived.settled is None else f"{survived.settled:.1f} s",
        f"{survived.wrong.results:,}",
        f"{survived.wrong.cells:,}",
        engine.promises,
    ]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

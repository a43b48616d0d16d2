"""What does it cost to push one event to everybody, how late is it at the last stream, and who survives a restart?

    python -m bench.push [--streams 1000 4000] [--runs 5] [--only NAME ...] [--bytes 651]
    python -m bench.push --scale 15000 1000 [--cells 200] [--schools 200] [--seconds 30] [--runs 5]
    python -m bench.push --storm 5000 [--topics 1 50] [--runs 5]

The first compares stacks: N streams of one topic, one event at a steady rate (``--messages`` a second over all streams,
the same for all), one process of readers that is the same for all (``bench.push_readers``). The peers broadcast and do
nothing else; ours is the real gateway process over a Redis whose cells change: every stream has a token of its own, filters
for test and year, snapshots, versions and merging. CPU is user and system time of all the server's processes, without the
readers; memory is resident memory after all have connected, less what it was before, without the kernel's. The payload
is as long as one cell in a patch of ours. Every event has to come to every stream; where less came, the row says how much, and
whether any stream was left without the newest event. (Ours merges what changes again before it is sent: on a busy machine
fewer messages come, each with the newest state.)

``--scale`` opens streams of many schools on ours, in turn, and changes one cell after another; the time runs from the
write in Redis (its clock, in whole milliseconds) to the frame read. ``--storm`` kills the gateway with ``kill -9``, changes
every school's cell, starts it again, and lets all clients come back in the same moment, each with its ``Last-Event-ID``.

nginx with Nchan must be installed (Debian: nginx-light, libnginx-mod-nchan); Mercure and Centrifugo are taken from the
PATH, or built from their Go modules. What cannot be had says so in its row.
"""

from __future__ import annotations

import argparse
import resource
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import median
from typing import Final, TypeVar

from bench.environments import CannotSetUp
from bench.measuring import middle, spread, table
from bench.push_broadcast import Broadcast, broadcast
from bench.push_event import PATCH_BYTES
from bench.push_peers import OURS, PEERS, Peer
from bench.push_scale import Scale, scale
from bench.push_storm import Storm, storm
from cli.stack.child import ServerFailed

R = TypeVar("R")

_FILES: Final = 65_536


def main() -> None:
    """The command."""
    options = _options()
    allow_files()
    if options.scale:
        print(_scaled(options), flush=True)
    elif options.storm:
        print(_stormed(options), flush=True)
    else:
        for streams in options.streams:
            print(_compared(streams, options), flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--streams", type=int, nargs="+", default=[1_000, 4_000])
    parser.add_argument(
        "--messages", type=float, default=10_000.0, help="delivered a second, over all streams"
    )
    parser.add_argument("--seconds", type=float, help="of events; default: 15, with --scale 30")
    parser.add_argument("--bytes", type=int, default=PATCH_BYTES, help="the peers' event")
    names = [peer.name for peer in PEERS]
    parser.add_argument("--only", nargs="+", default=names, metavar="NAME", choices=names)
    parser.add_argument("--scale", type=int, nargs="+", metavar="STREAMS")
    parser.add_argument("--cells", type=float, default=200.0, help="changed a second")
    parser.add_argument("--schools", type=int, default=200)
    parser.add_argument("--storm", type=int, metavar="CLIENTS")
    parser.add_argument("--topics", type=int, nargs="+", default=[1, 50])
    return parser.parse_args()


def allow_files() -> None:
    """As many sockets as streams, in every process that is started from here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _FILES), max(hard, _FILES)))
    except (
        ValueError,
        OSError,
    ):  # not ours to raise; then streams beyond the limit are refused, and it is told
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        _tell(f"open files are limited to {hard:,}")


def _compared(streams: int, options: argparse.Namespace) -> str:
    peers = [peer for peer in PEERS if peer.name in options.only]
    found: dict[Peer, list[Broadcast]] = defaultdict(list)
    failed: dict[Peer, str] = {}
    seconds = options.seconds or 15.0
    for number in range(options.runs):
        for peer in peers:
            if peer in failed:
                continue
            try:
                run = broadcast(
                    peer, streams, messages_a_second=options.messages, seconds=seconds, size=options.bytes
                )
            except (CannotSetUp, ServerFailed) as error:
                failed[peer] = str(error)
                _tell(f"{streams:,} streams, run {number + 1}, {peer.title}: {error}")
                continue
            found[peer].append(run)
            _tell(f"{streams:,} streams, run {number + 1}, {peer.title}: {run}")
    headings = ["stack", "CPU us a message", "times ours", "resident kB a stream", "CPU us a connect"]
    headings += ["p50 ms", "p99 ms", "bytes a message", "database CPU us a message", "delivered"]
    rows = [_row(peer, found[peer], found[OURS], failed.get(peer, "")) for peer in peers]
    rate = f"{options.messages:,.0f} messages/s"
    return (
        f"\n{streams:,} streams, {rate}, median of {options.runs} runs (min-max)\n\n{table(headings, rows)}"
    )


def _row(peer: Peer, runs: list[Broadcast], ours: list[Broadcast], failure: str) -> list[str]:
    if not runs:
        return [peer.title, f"cannot be had: {_first_line(failure)}", *["-"] * 8]
    stores = [run.store_us for run in runs if run.store_us is not None]
    times = [a.message_us / b.message_us for a, b in zip(runs, ours, strict=False)]
    return [
        peer.title,
        spread([run.message_us for run in runs], ".1f"),
        f"{median(times):.1f}" if times else "-",
        spread([run.stream_kb for run in runs], ".1f"),
        spread([run.connect_us for run in runs]),
        middle((run.p50_ms for run in runs), ".1f"),
        middle((run.p99_ms for run in runs), ".1f"),
        middle(run.frame_bytes for run in runs),
        middle(stores, ".2f") if stores else "-",
        _delivered((run.delivered, run.streams * run.made, run.backwards) for run in runs)
        + _behind(sum(run.streams - run.newest for run in runs))
        + (f"; then {_first_line(failure)}" if failure else ""),
    ]


def _behind(streams: int) -> str:
    """Events that a newer one replaced before they were sent are not lost; a stream without the newest has lost some."""
    return f"; {streams:,} streams without the newest" if streams else ""


def _delivered(runs: Iterable[tuple[int, int, int]]) -> str:
    """Whether everything came, over all runs."""
    had, due, backwards = map(sum, zip(*runs, strict=True))
    said = "all" if had == due else f"{had:,} of {due:,}"
    return f"{said}, {backwards:,} out of order" if backwards else said


def _scaled(options: argparse.Namespace) -> str:
    headings = ["open streams", "p50 ms", "p99 ms", "max ms", "gateway, cores", "resident kB a stream"]
    headings += ["all connected in, s", "writer late at worst, ms", "frames delivered"]
    rows = []
    for streams in options.scale:
        runs, failure = _repeated(options.runs, partial(_one_scale, streams, options))
        rows.append(_scale_row(streams, runs) if runs else _stopped(streams, failure, headings))
    said = f"{options.cells:g} cells/s of {options.schools} schools, median of {options.runs} runs (min-max)"
    return f"\n{said}\n\n{table(headings, rows)}"


def _one_scale(streams: int, options: argparse.Namespace) -> Scale:
    seconds = options.seconds or 30.0
    return scale(streams, schools=options.schools, cells_a_second=options.cells, seconds=seconds)


def _scale_row(streams: int, runs: list[Scale]) -> list[str]:
    return [
        f"{streams:,}",
        spread([run.p50_ms for run in runs], ".1f"),
        spread([run.p99_ms for run in runs], ".1f"),
        spread([run.worst_ms for run in runs], ".1f"),
        middle((run.busy for run in runs), ".2f"),
        middle((run.stream_kb for run in runs), ".1f"),
        middle((run.connect_seconds for run in runs), ".1f"),
        middle((run.latest_write_ms for run in runs), ".1f"),
        _delivered((run.delivered, run.expected, run.backwards) for run in runs),
    ]


def _stormed(options: argparse.Namespace) -> str:
    headings = ["topics", "ready after kill -9, s", "all whole after that, s", "p50 s", "p99 s"]
    headings += ["Redis reads a topic", "HMGETs", "CPU us a client", "turned away"]
    rows = []
    for topics in options.topics:
        runs, failure = _repeated(options.runs, partial(storm, options.storm, topics))
        rows.append(_storm_row(topics, runs) if runs else _stopped(topics, failure, headings))
    said = f"{options.storm:,} clients come back at once, median of {options.runs} runs (min-max)"
    return f"\n{said}\n\n{table(headings, rows)}"


def _storm_row(topics: int, runs: list[Storm]) -> list[str]:
    refusals = {run.refusal for run in runs if run.refusal}
    return [
        str(topics),
        middle((run.restart_seconds for run in runs), ".2f"),
        spread([run.whole_seconds for run in runs], ".2f"),
        middle((run.p50_seconds for run in runs), ".2f"),
        middle((run.p99_seconds for run in runs), ".2f"),
        spread([run.reads_a_topic for run in runs], ".2f"),
        middle(run.other_reads for run in runs),
        middle(run.client_us for run in runs),
        f"{sum(run.turned_away for run in runs):,} {'; '.join(sorted(refusals))}".strip(),
    ]


def _repeated(times: int, run: Callable[[], R]) -> tuple[list[R], str]:
    """The runs up to the first that fails, and why it did."""
    runs: list[R] = []
    for number in range(times):
        try:
            runs.append(run())
        except (CannotSetUp, ServerFailed) as error:
            _tell(f"run {number + 1}: {error}")
            return runs, str(error)
        _tell(f"run {number + 1}: {runs[-1]}")
    return runs, ""


def _stopped(number: int, failure: str, headings: Sequence[str]) -> list[str]:
    return [f"{number:,}", f"stopped: {_first_line(failure)}", *["-"] * (len(headings) - 2)]


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()

"""What a rebuild does, decided from what is there: pure.

How far the new tables can be compared with the serving ones depends on what differs on purpose, and an operator must say in
so many words that results which are nowhere any more will be missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from schemas.errors import InvalidInput
from schemas.keys import LAYOUT, Attribution, Generation, how_made, new_generation
from schemas.topics import EXAM_RESULTS
from streams.rebuild_state import Rebuild


class Comparison(Enum):
    """What of the new tables is compared, from most to least."""

    CELLS = "every cell with the serving tables, at equal positions"
    STATE = "the state's cells with the serving tables, at equal positions, and every cell with a recount of the exam rows"
    ROWS = "every cell with a recount of the exam rows"


class Wishes(NamedTuple):
    """What the operator says."""

    attribution: Attribution | None = None  # None: as it is
    from_what_is_left: bool = False
    new_log: bool = False
    keep_old: bool = False


class Facts(NamedTuple):
    """What is there."""

    serving: Generation
    log: str  # identity of the results topic
    logs: frozenset[str]  # identities of the logs that the serving tables were read from
    bounds: Mapping[int, tuple[int, int]]  # start and end of the log, by partition
    positions: Mapping[int, int | None]  # of the serving tables
    reached: Mapping[int, int | None] = {}  # positions of the unfinished rebuild


class Plan(NamedTuple):
    """What will be done, and what there is to say about it first."""

    rebuild: Rebuild
    attribution: Attribution
    comparison: Comparison
    follow: bool  # whether the serving tables say how far to fill; else the log's end does
    resumed: bool
    words: list[str]


def make_plan(facts: Facts, wishes: Wishes, known: Rebuild | None, *, now_ms: int) -> Plan:
    """A plan for the ``known`` rebuild to go on with, else for a new one.

    Raises:
        InvalidInput: it would do something else than what was said; the message names the option that says it.
    """
    if known is not None:
        rebuild = _continued(facts, wishes, known)
    else:
        _must_be_said(facts, wishes)
        attribution = wishes.attribution or how_made(facts.serving).attribution
        rebuild = Rebuild(
            new_generation(now_ms, attribution),
            facts.serving,
            now_ms,
            from_what_is_left=wishes.from_what_is_left and bool(_missing(facts)),
            new_log=wishes.new_log,
            keep_old=wishes.keep_old,
        )
    same_log = _same_log(facts)
    overtaken = any((facts.positions[n] or 0) < start for n, (start, _) in facts.bounds.items())
    return Plan(
        rebuild,
        how_made(rebuild.generation).attribution,
        _comparison(rebuild, same_log),
        follow=same_log and not overtaken,
        resumed=known is not None,
        words=_words(facts, rebuild, same_log),
    )


def _continued(facts: Facts, wishes: Wishes, known: Rebuild) -> Rebuild:
    clean = "`scores rebuild clean` removes it"
    made = how_made(known.generation)
    if facts.serving not in {known.beside, known.generation}:
        raise InvalidInput(
            f"the unfinished rebuild {known.generation} was built beside {known.beside}, but {facts.serving} serves now; {clean}"
        )
    if made.layout != LAYOUT:
        raise InvalidInput(
            f"the unfinished rebuild {known.generation} has layout {made.layout}, and this version writes {LAYOUT}; {clean}"
        )
    if wishes.attribution not in {None, made.attribution}:
        raise InvalidInput(
            f"an unfinished rebuild counts by the {made.attribution} school, and you say {wishes.attribution}; resume it without "
            f"saying so, or {clean}"
        )
    cut = [n for n, (start, _) in facts.bounds.items() if start > (facts.reached.get(n) or 0)]
    if cut and not known.from_what_is_left and facts.serving == known.beside:
        raise InvalidInput(
            f"{EXAM_RESULTS} lost records of partitions {_listed(cut)} which the unfinished rebuild had not read yet. {clean}; "
            "then start anew, with --from-what-is-left"
        )
    return known


def _must_be_said(facts: Facts, wishes: Wishes) -> None:
    missing = _missing(facts)
    if shorter := _shorter(facts):
        if not wishes.new_log:
            raise InvalidInput(
                f"{EXAM_RESULTS} ends before the serving tables' positions in partitions {_listed(shorter)}: it was truncated, or "
                "restored from an older backup. New tables would hold only the results that are in it; with --new-log they do"
            )
    elif not facts.logs <= {facts.log}:
        if not wishes.new_log:
            raise InvalidInput(
                f"the serving tables were read from another log ({', '.join(sorted(facts.logs))}) than {EXAM_RESULTS} is now "
                f"({facts.log}): it was deleted and created again, or this is another cluster. New tables would hold only the "
                "results that are in the new topic; with --new-log they do"
            )
    elif wishes.new_log:
        raise InvalidInput("--new-log is given, but the serving tables were read from this very log")
    if missing and not wishes.from_what_is_left:
        records = sum(start for start, _ in facts.bounds.values())
        raise InvalidInput(
            f"the log does not reach back to its beginning: of partitions {_listed(missing)} the first {records:,} records are "
            "deleted (retention). Results that were only in them cannot be rebuilt, and the new figures will be lower by them. "
            "Restore the topic, or say --from-what-is-left"
        )


def _comparison(rebuild: Rebuild, same_log: bool) -> Comparison:
    before, after = how_made(rebuild.beside), how_made(rebuild.generation)
    if not same_log or rebuild.from_what_is_left or before.layout != after.layout:
        return Comparison.ROWS
    return Comparison.CELLS if before.attribution == after.attribution else Comparison.STATE


def _words(facts: Facts, rebuild: Rebuild, same_log: bool) -> list[str]:
    before, after = how_made(rebuild.beside), how_made(rebuild.generation)
    words = []
    if not same_log:
        words.append(
            "NEW LOG: the new tables hold the results that are in this topic, and none of those that were only in the old one."
        )
    if rebuild.from_what_is_left:
        words.append(
            f"FROM WHAT IS LEFT: results of partitions {_listed(_missing(facts))} that were only in deleted records will be "
            "missing. A later rescore does not bring them back; sending their reports again does."
        )
    if before.layout != after.layout:
        words.append(f"The layout changes from {before.layout} to {after.layout}.")
    if before.attribution != after.attribution:
        words.append(
            f"Results counted by the {before.attribution} school will count by the {after.attribution} school, for all workers."
        )
    return words


def _same_log(facts: Facts) -> bool:
    """Whether the serving tables were read from this log, and it still reaches to where they stand."""
    return facts.logs <= {facts.log} and not _shorter(facts)


def _shorter(facts: Facts) -> list[int]:
    """Partitions whose log ends before the tables' position."""
    return [n for n, (_, end) in sorted(facts.bounds.items()) if end < (facts.positions.get(n) or 0)]


def _missing(facts: Facts) -> list[int]:
    return [number for number, (start, _) in sorted(facts.bounds.items()) if start > 0]


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))

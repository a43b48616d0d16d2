"""What a rebuild does with what it finds, and what an operator must say in so many words first."""

from __future__ import annotations

import pytest

from cli.rebuild.cleaning import table_key
from cli.rebuild.planning import Comparison, Facts, Wishes, make_plan
from cli.rebuild.progress import estimate, lags_of
from schemas.errors import InvalidInput
from schemas.keys import LAYOUT, Generation, Made, PartitionKeys, how_made, new_generation
from streams.rebuild_state import Phase, Progress, Rebuild

SERVING = new_generation(1_780_000_000_000)
HALF_DONE = Rebuild(new_generation(1_780_000_900_000), SERVING, 1_780_000_900_000)
NOW_MS = 1_780_001_000_000


def facts(**changes: object) -> Facts:
    whole = Facts(
        serving=SERVING,
        log="cluster/topic",
        logs=frozenset(["cluster/topic"]),
        bounds={0: (0, 900), 1: (0, 800)},
        positions={0: 900, 1: 800},
    )
    return whole._replace(**changes)  # type: ignore[arg-type]  # fields by name


def test_generation_says_how_its_tables_are_made() -> None:
    assert how_made(new_generation(1, "tested")) == Made(LAYOUT, "tested")
    assert how_made(Generation("g19a2b3c4d5e")) == Made(1, "current")
    assert new_generation(1) != new_generation(2)


def test_rebuild_under_the_same_rule_is_compared_cell_by_cell() -> None:
    plan = make_plan(facts(), Wishes(), None, now_ms=NOW_MS)
    assert (plan.comparison, plan.follow, plan.resumed, plan.words) == (Comparison.CELLS, True, False, [])
    assert plan.rebuild.beside == SERVING and how_made(plan.rebuild.generation) == how_made(SERVING)


def test_rebuild_under_the_other_rule_is_compared_where_schools_do_not_matter() -> None:
    plan = make_plan(facts(), Wishes(attribution="tested"), None, now_ms=NOW_MS)
    assert (plan.comparison, plan.attribution) == (Comparison.STATE, "tested")
    assert "tested school" in plan.words[0]


def test_rule_of_the_serving_tables_holds_when_nothing_is_said() -> None:
    tested = new_generation(5, "tested")
    plan = make_plan(facts(serving=tested), Wishes(), None, now_ms=NOW_MS)
    assert (plan.attribution, plan.comparison) == ("tested", Comparison.CELLS)


def test_tables_of_another_layout_cannot_be_read_so_new_ones_are_compared_with_their_rows() -> None:
    plan = make_plan(facts(serving=Generation("g1")), Wishes(), None, now_ms=NOW_MS)
    assert (plan.comparison, plan.follow) == (Comparison.ROWS, True)


@pytest.mark.parametrize(
    ("changes", "wishes", "named"),
    [
        pytest.param({"bounds": {0: (0, 900), 1: (40, 800)}}, Wishes(), "--from-what-is-left", id="cut log"),
        pytest.param({"logs": frozenset(["cluster/old"])}, Wishes(), "--new-log", id="another log"),
        pytest.param({"bounds": {0: (0, 900), 1: (0, 790)}}, Wishes(), "--new-log", id="an older backup"),
        pytest.param({}, Wishes(new_log=True), "this very log", id="the same log, called new"),
    ],
)
def test_results_that_will_be_missing_must_be_given_up_in_so_many_words(
    changes: dict[str, object], wishes: Wishes, named: str
) -> None:
    with pytest.raises(InvalidInput, match=named):
        make_plan(facts(**changes), wishes, None, now_ms=NOW_MS)


def test_tables_overtaken_by_retention_do_not_hold_the_rebuild_back() -> None:
    cut = facts(bounds={0: (500, 900), 1: (0, 800)}, positions={0: 400, 1: 800})
    plan = make_plan(cut, Wishes(from_what_is_left=True), None, now_ms=NOW_MS)
    assert (plan.comparison, plan.follow) == (Comparison.ROWS, False)
    assert plan.rebuild.from_what_is_left and "FROM WHAT IS LEFT" in plan.words[0]


def test_log_restored_from_an_older_backup_is_rebuilt_from_what_it_holds() -> None:
    """The tables stand where the log does not reach: waiting for that would never end."""
    plan = make_plan(facts(bounds={0: (0, 900), 1: (0, 790)}), Wishes(new_log=True), None, now_ms=NOW_MS)
    assert (plan.comparison, plan.follow) == (Comparison.ROWS, False)
    assert plan.rebuild.new_log and "NEW LOG" in plan.words[0]


def test_from_what_is_left_of_a_whole_log_is_a_whole_rebuild() -> None:
    plan = make_plan(facts(), Wishes(from_what_is_left=True), None, now_ms=NOW_MS)
    assert not plan.rebuild.from_what_is_left and plan.comparison is Comparison.CELLS


def test_unfinished_rebuild_goes_on_as_it_was_begun() -> None:
    plan = make_plan(facts(reached={0: 300, 1: None}), Wishes(), HALF_DONE, now_ms=NOW_MS)
    assert plan.resumed and plan.rebuild == HALF_DONE


@pytest.mark.parametrize(
    ("changes", "wishes"),
    [
        pytest.param({"serving": new_generation(9)}, Wishes(), id="other tables serve by now"),
        pytest.param({}, Wishes(attribution="tested"), id="another rule is asked for"),
        pytest.param(
            {"bounds": {0: (350, 900), 1: (0, 800)}, "reached": {0: 300, 1: 10}},
            Wishes(from_what_is_left=True),
            id="retention has overtaken it",
        ),
    ],
)
def test_unfinished_rebuild_that_no_longer_fits_is_not_continued(
    changes: dict[str, object], wishes: Wishes
) -> None:
    with pytest.raises(InvalidInput, match="scores rebuild clean"):
        make_plan(facts(**changes), wishes, HALF_DONE, now_ms=NOW_MS)


@pytest.mark.parametrize("phase", list(Phase))
def test_rebuild_is_unfinished_until_it_serves(phase: Phase) -> None:
    rebuild = Rebuild(SERVING, SERVING, 0, phase=phase)
    assert rebuild.unfinished is (phase not in {Phase.SERVING, Phase.DONE})


def test_keys_of_other_things_are_never_taken_for_tables() -> None:
    keys = PartitionKeys(SERVING, 3)  # type: ignore[arg-type]  # plain values
    for name in (keys.position, keys.changes, keys.reconsidered, keys.exams(bytes(16)), keys.cells("1")):  # type: ignore[arg-type]
        found = table_key(name)
        assert found is not None and found[0] == SERVING
    for name in ("{organizations}:position", "{scores:generation}:rebuild", "scores:imports:exams:5"):
        assert table_key(name) is None


def test_estimate_follows_from_what_is_left_and_how_fast_it_goes() -> None:
    assert estimate(Progress(left=90_000, rate=1_000.0)) == "0:01:30 left"
    assert estimate(Progress(left=90_000)) == "no estimate yet"
    assert estimate(Progress(applied=5)) == "caught up"
    assert lags_of(Progress(partitions={0: (5, 9), 1: (7, 7), 2: (9, 0)})) == {0: 4, 1: 0, 2: 0}

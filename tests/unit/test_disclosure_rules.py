"""The seven rules of disclosure control, one test each, and the students who move at the very minimum."""

from __future__ import annotations

import struct

from disclosure_schools import (
    ADAMS,
    BAKER,
    CLARK,
    COUNTY,
    DISTRICT,
    DOYLE,
    EVANS,
    NEIGHBOUR,
    STATE,
    Told,
    students,
)

from schemas.aggregates import Cell, contribution, levels_code
from schemas.disclosure.held import Held, cell_of, held_of
from schemas.disclosure.published import PublishedCell, pack_published
from schemas.figures import mean


def test_rule_1_fewer_than_11_students_with_scores_are_suppressed_which_is_not_the_same_as_no_results() -> (
    None
):
    told = Told({ADAMS: students(20, 20), EVANS: students(5, 5), CLARK: students(0)})

    assert told.shown(ADAMS) == 40
    assert told.is_suppressed(EVANS) and told.is_suppressed(NEIGHBOUR)
    assert CLARK not in told.family.published()
    assert told.shown(COUNTY) == told.shown(STATE) == 40  # and none of the ten is in a total


def test_rule_1_eleven_students_are_shown() -> None:
    assert Told({ADAMS: students(5, 6)}).shown(ADAMS) == 11


def test_rule_1_results_without_scores_do_not_make_a_group_large_enough() -> None:
    cell = Cell()
    for score in range(10):
        cell.apply(contribution(2400 + score, levels_code([1 + score % 2])))
    for _ in range(5):
        cell.apply(contribution(None))

    assert cell.results == 15
    assert Told({ADAMS: held_of(cell)}).is_suppressed(STATE) is False  # nothing at all happened in the family
    assert Told({ADAMS: held_of(cell), EVANS: students(9, 9)}).is_suppressed(ADAMS)


def test_rule_2_a_school_with_all_students_in_one_level_is_suppressed() -> None:
    told = Told({ADAMS: students(0, 0, 0, 30), EVANS: students(20, 20)})

    assert told.is_suppressed(ADAMS)
    assert told.shown(STATE) == 40


def test_rule_2_new_students_who_are_all_in_one_level_are_held_back() -> None:
    told = Told({ADAMS: students(10, 10)})

    assert told.now({ADAMS: students(10, 30)}).changed == {}
    told.now({ADAMS: students(11, 30)})

    assert told.shown(ADAMS) == 41


def test_rule_2_a_claim_in_which_all_are_in_one_level_has_no_counts() -> None:
    told = Told({ADAMS: students(10, 10, claims=(0, 20, 0, 0, 8, 12))})

    published = told.family.published()[ADAMS]
    assert published is not None
    assert published.level_counts(1) == (0, 0, 0, 0)
    assert published.level_counts(2) == (8, 12, 0, 0)


def test_rule_3_with_one_hidden_sibling_a_second_is_hidden_and_the_parent_has_them_both() -> None:
    told = Told({ADAMS: students(20, 20), BAKER: students(10, 5), CLARK: students(2, 2)})

    assert told.is_suppressed(CLARK)
    assert told.is_suppressed(BAKER)  # the smallest of the others
    assert told.shown(ADAMS) == 40
    assert told.shown(DISTRICT) == 59  # less what is shown of its schools, 19 students


def test_rule_3_where_no_sibling_can_be_hidden_any_more_the_parent_does_not_have_the_hidden_one() -> None:
    told = Told({ADAMS: students(20, 20)})

    told.now({BAKER: students(3, 4)})

    assert told.shown(DISTRICT) == told.shown(ADAMS) == 40


def test_rule_3_several_small_schools_hide_each_other() -> None:
    told = Told({ADAMS: students(20, 20), BAKER: students(3, 3), CLARK: students(3, 2)})

    assert told.is_suppressed(BAKER) and told.is_suppressed(CLARK)
    assert told.shown(ADAMS) == 40
    assert told.shown(DISTRICT) == 51


def test_rule_4_a_visible_cell_moves_only_when_11_students_changed() -> None:
    told = Told({ADAMS: students(10, 10)})

    for more in range(1, 11):
        assert told.now({ADAMS: students(10 + more // 2, 10 + more - more // 2)}).changed == {}
    told.now({ADAMS: students(15, 16)})

    assert told.shown(ADAMS) == told.shown(STATE) == 31


def test_rule_4_rescores_across_a_cut_count_as_changes() -> None:
    told = Told({ADAMS: students(20, 20, 20)})

    assert told.now({ADAMS: students(15, 20, 25)}).changed == {}  # five students rose
    told.now({ADAMS: students(9, 26, 25)})

    assert told.family.published()[ADAMS] == students(9, 26, 25)


def test_rule_4_students_who_leave_and_come_back_are_not_new() -> None:
    """Both states are 11 students apart from the last one, and but one from that before."""
    told = Told({ADAMS: students(20, 20)})
    told.now({ADAMS: students(26, 26)})  # 12 came; published
    told.now({ADAMS: students(20, 20)})  # and left again
    told.now({ADAMS: students(40, 40)})  # 40 others came; enough of them must be new
    before = told.shown(ADAMS)

    assert told.now({ADAMS: students(46, 45)}).changed == {}  # the 12 may be back, all but one
    assert (before, told.shown(ADAMS)) == (80, 80)


def test_rule_4_a_release_shows_everything_at_once() -> None:
    told = Told({EVANS: students(20, 20)})

    told.now({ADAMS: students(6, 6), BAKER: students(7, 7)})

    assert told.shown(DISTRICT) == 26
    assert told.shown(STATE) == 66


def test_rule_4_the_published_mean_is_a_whole_point_and_the_stored_cell_has_no_scores() -> None:
    cell = cell_of(students(10, 11), version=3)

    assert mean(cell) == 2352  # (10 * 2300 + 11 * 2400) / 21 = 2352.4
    assert cell.score_sum_sq == 0
    assert list(cell.scores()) == []


def test_rule_5_a_hidden_cell_sends_nothing_while_its_students_change() -> None:
    told = Told({ADAMS: students(20, 20)})
    told.now({EVANS: students(1)})
    assert EVANS not in told.family.published()  # not even that it has results now

    for count in range(2, 6):
        rounds = told.now({EVANS: students(count, count)})
        assert rounds.changed == {} and not rounds.gone


def test_rule_5_a_school_is_marked_as_suppressed_only_together_with_other_news() -> None:
    told = Told({ADAMS: students(20, 20)})
    told.now({EVANS: students(1)})

    rounds = told.now({ADAMS: students(30, 30)})

    assert rounds.changed[EVANS] is None and rounds.changed[NEIGHBOUR] is None
    assert rounds.changed[ADAMS] == students(30, 30)


def test_rule_6_a_school_that_falls_below_11_is_hidden_at_once_with_all_totals_that_had_it() -> None:
    told = Told({ADAMS: students(5, 6), BAKER: students(20, 20)})

    told.now({ADAMS: students(5, 5)})

    assert told.is_suppressed(ADAMS)
    assert told.shown(DISTRICT) == told.shown(STATE) == 40


def test_rule_6_a_school_between_10_and_11_does_not_flap() -> None:
    told = Told({ADAMS: students(5, 6), BAKER: students(20, 20)})
    told.now({ADAMS: students(5, 5)})

    for count in (6, 5, 6, 7, 6):
        assert told.now({ADAMS: students(5, count)}).changed == {}


def test_rule_6_showing_again_needs_11_new_students() -> None:
    told = Told({ADAMS: students(5, 6), BAKER: students(20, 20)})
    told.now({ADAMS: students(5, 5)})

    # One left, and may be among those who came: 12 more than were ever published.
    assert told.now({ADAMS: students(10, 11)}).changed == {}
    told.now({ADAMS: students(11, 12)})

    assert told.shown(ADAMS) == 23


def test_rule_7_what_is_published_of_a_cell_is_counts_and_a_sum_and_names_nobody() -> None:
    packed = pack_published(PublishedCell(4, 1_700_000_000_000, cell_of(students(10, 11), version=0)))

    assert Held._fields == ("levels", "score_sum")
    counts = 3 + 2  # results, with scores, appeals, two levels
    head = struct.calcsize("<BBBQQQ")
    assert len(packed) <= head + counts * 4 + 32


def test_6_lep_no_to_yes_with_n_at_11_and_10_nothing_leaks() -> None:
    """A student group behaves as a school does here: eleven students in one group and ten in the other, and one of them changes from the first to the second."""
    told = Told({ADAMS: students(5, 6)})
    told.now({BAKER: students(5, 5)})
    assert (told.shown(ADAMS), told.shown(BAKER), told.shown(DISTRICT)) == (11, None, 11)

    told.now({ADAMS: students(5, 5), BAKER: students(5, 6)})  # 10 and 11: hidden at once, and nothing appears
    assert [told.shown(cell) for cell in (ADAMS, BAKER, DISTRICT, COUNTY, STATE)] == [None] * 5

    back = told.now({ADAMS: students(5, 6), BAKER: students(5, 5)})
    assert back.changed == {}


def test_a_student_who_changes_group_above_the_minimum_moves_neither() -> None:
    told = Told({ADAMS: students(6, 6), BAKER: students(5, 6), DOYLE: students(20, 20)})

    assert told.now({ADAMS: students(5, 6), BAKER: students(6, 6)}).changed == {}


def test_the_examples_of_the_documentation_hour_by_hour() -> None:
    told = Told({DOYLE: students(20, 20)})
    hours = [
        (students(5, 6), 11, 51),
        (students(6, 7), 11, 51),
        (students(11, 11), 22, 62),
        (students(11, 11, 0, 11), 22, 62),
        (students(5, 5), None, 40),
        (students(5, 6), None, 40),
    ]

    for now, of_school, of_district in hours:
        told.now({ADAMS: now})
        assert (told.shown(ADAMS), told.shown(DISTRICT)) == (of_school, of_district)


def test_the_examples_of_the_documentation_small_schools() -> None:
    def shown(told: Told) -> list[int | None]:
        return [told.shown(cell) for cell in (BAKER, CLARK, DOYLE, DISTRICT)]

    together = Told({DOYLE: students(20, 20), BAKER: students(3, 4)})
    later = Told({DOYLE: students(20, 20)})
    later.now({BAKER: students(3, 4)})
    two = Told({DOYLE: students(20, 20), BAKER: students(3, 3), CLARK: students(3, 2)})

    assert shown(together) == [None, None, None, 47]
    assert shown(later) == [None, None, 40, 40]
    assert shown(two) == [None, None, 40, 51]

"""Mutated events, reports and requests: each is accepted, or refused with a reason, and nothing crashes, hangs or grows.

A slice of ``make fuzz``; and the proof that each of these failures would be noticed.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import inputs, runner
from hostile.campaign import Campaign, save_failures
from hostile.inputs import CORPUS, Kind
from hostile.runner import INPUT_CPU_SECONDS, WINDOW, Progress

MIB = 2**20
# Much more than any of them takes: it bounds what would be noticed, it measures nothing.
GROWTH_BYTES = {
    Kind.EVENT: 128 * MIB,
    Kind.REPORT: 256 * MIB,
    Kind.REQUEST: 256 * MIB,
    Kind.STREAM: 128 * MIB,
}


@pytest.mark.parametrize(
    ("kind", "count", "accepted", "origins"),
    [
        (Kind.EVENT, 20_000, 5_000, 12),
        (Kind.REPORT, 1_000, 100, 12),
        (Kind.REQUEST, 100, 20, 3),
        (Kind.STREAM, 4_000, 300, 3),
    ],
)
def test_hostile_input_is_accepted_or_refused_with_a_reason_and_nothing_else(
    kind: Kind, count: int, accepted: int, origins: int, tmp_path: Path
) -> None:
    campaign = Campaign(kind, count, seed=20_260_601)
    total = campaign.run()
    assert not total.failures, save_failures(campaign, total, tmp_path)
    assert total.inputs == count
    assert len(total.verdicts) >= origins
    # Neither side of the line went untested.
    assert accepted <= sum(verdicts.get("accepted", 0) for verdicts in total.verdicts.values()) < 0.8 * count
    assert total.slowest_seconds < INPUT_CPU_SECONDS
    assert total.memory_growth < GROWTH_BYTES[kind]


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.name)
def test_an_input_that_once_did_harm_does_none_any_more(path: Path) -> None:
    given = inputs.load(path)
    with runner.checking(given.kind) as check:
        assert check.check(given).startswith(("accepted", "rejected: "))
        check.finish()


def test_the_same_seed_makes_the_same_inputs_however_many_processes_share_them() -> None:
    one, three = (Campaign(Kind.EVENT, 3 * WINDOW, 7, jobs).run() for jobs in (1, 3))
    assert (one.digest, one.verdicts) == (three.digest, three.verdicts)
    assert runner.make_input(Kind.EVENT, 7, 0) != runner.make_input(Kind.EVENT, 8, 0)


def faulty(name: str, count: int) -> Progress:
    return Campaign(Kind.EVENT, count, seed=1, jobs=1, checks=f"hostile.faulty:{name}").run()


def test_a_reader_that_crashes_accepts_rejects_or_counts_wrongly_is_found_out() -> None:
    said = " ".join(what for _, what in faulty("WRONG", WINDOW).failures)
    for symptom in (
        "ZeroDivisionError",
        "expected a rejection",
        "rejected as wrong_key; expected",
        "a detail of 0 characters",
        "at the end of the window",
    ):
        assert symptom in said


@pytest.mark.parametrize(
    ("name", "said"), [("HANGING", "a hang"), ("FATAL", "SIGSEGV"), ("INSATIABLE", "MemoryError")]
)
def test_an_input_that_hangs_or_takes_its_process_down_is_a_failure(name: str, said: str) -> None:
    assert said in faulty(name, WINDOW).failures[0][1]


def test_after_an_input_that_took_its_process_down_the_next_window_is_checked() -> None:
    failures = faulty("FATAL", 2 * WINDOW).failures
    assert [number // WINDOW for number, _ in failures] == [0, 1]


def test_memory_that_is_never_given_back_shows() -> None:
    assert faulty("LEAKING", 4 * WINDOW).memory_growth > 32 * MIB


def test_a_failing_input_is_saved_and_fails_again_when_replayed(tmp_path: Path) -> None:
    campaign = Campaign(Kind.EVENT, WINDOW, seed=1, jobs=1, checks="hostile.faulty:WRONG")
    path, said = next(
        found for found in save_failures(campaign, campaign.run(), tmp_path) if "ZeroDivision" in found[1]
    )
    assert "ZeroDivisionError" in said
    number = int(path.stem.rpartition("-")[2])
    again, made = inputs.load(path), runner.make_input(Kind.EVENT, 1, number)
    assert (again.kind, again.head, again.body) == (made.kind, made.head, made.body)

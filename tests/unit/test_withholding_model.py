"""No sequence of release changes, results, connects, resumes and slow clients makes a frame reach who may not have it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from withholding_model import STEPS, Step, follow

from gateway import stream, telling
from gateway.following import Following
from gateway.hub import Hub
from gateway.reopening import Reopening
from gateway.ticking import Ticker
from schemas.access.visibility import Rows, Visibility

numbers = st.integers(0, 999)
courses = st.lists(st.tuples(st.sampled_from(STEPS), numbers, numbers, numbers), max_size=60)


def random_course(seed: int) -> list[Step]:
    chance = random.Random(seed)
    return [
        (chance.choice(STEPS), chance.randrange(1_000), chance.randrange(1_000), chance.randrange(1_000))
        for _ in range(120)
    ]


@settings(max_examples=40, deadline=None)
@given(courses)
def test_nobody_is_ever_sent_what_they_may_not_see_and_everybody_ends_with_what_they_may(
    course: list[Step],
) -> None:
    asyncio.run(follow(course))


@pytest.mark.parametrize("seed", range(12))
def test_the_same_over_long_courses(seed: int) -> None:
    asyncio.run(follow(random_course(seed)))


def nothing(*_: object, **__: object) -> None:
    """Does not do what it stands for."""


async def nothing_later(*_: object) -> None:
    """Neither does this."""


GUARDS: dict[str, tuple[object, str, Any]] = {
    "districts and schools are withheld": (Visibility, "sees", lambda *_: True),
    "totals are of those districts only": (Visibility, "_part", lambda *_: (Rows.ALL, frozenset())),
    "release changes reach what is watched": (Reopening, "released", nothing),
    "what a tick has read is not delivered": (Ticker, "withhold", nothing),
    "what a client has not taken is dropped": (stream.Stream, "withdraw", nothing),
    "ids of before are known as such": (Hub, "resumable_from_ms", 0),
    "ids say of which class they are": (stream.Stream, "_mark_for", lambda *_: ""),
    "new districts are looked for": (Following, "check_directory", nothing_later),
    "what is gone is not resumed by a patch": (
        telling,
        "VisibilityClass",
        type("None_", (), {"MASKED": None}),
    ),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_without_any_one_guard_somebody_is_sent_or_keeps_what_they_may_not_see(
    guard: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, name, instead = GUARDS[guard]
    monkeypatch.setattr(owner, name, instead)
    with pytest.raises(AssertionError):
        for seed in range(60):
            asyncio.run(follow(random_course(seed), patience_seconds=0.5))

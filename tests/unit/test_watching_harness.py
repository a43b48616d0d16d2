"""The watching harness itself: it believes what docs/wire-format.md says, and notices what must never be seen."""

from __future__ import annotations

import json
from itertools import islice, pairwise
from typing import Any

import pytest

from schemas.aggregates import CellName
from schemas.identifiers import Grade, OrganizationId, TestCode
from tests.watching.belief import Belief, Shared
from tests.watching.expected import differences
from tests.watching.faults import Kind, planned
from tests.watching.seen import Blocks, Seen

SCHOOL = OrganizationId("61700016000001")
OTHER = OrganizationId("61700016000002")
NAME = CellName(2026, TestCode("ELA-SUM"), Grade("03"))


def cell(version: int, *, changed: int = 0, results: int = 5, mean: int = 2400) -> dict[str, Any]:
    return {
        "test": "ELA-SUM",
        "school_year": 2026,
        "grade": "03",
        "results": results,
        "mean": mean,
        "version": version,
        "changed": f"2026-05-04T12:00:{changed or version:02d}.000Z",
    }


def frame(
    what: str, *cells: dict[str, Any], generation: str = "g1", at: float = 1.0, school: str = SCHOOL
) -> Seen:
    organizations = [{"id": school, "cells": list(cells)}]
    data = {"generation": generation, "organizations": organizations}
    return Seen(at, what, json.dumps(data), f"{generation}.1777896000123")


@pytest.fixture
def shared() -> Shared:
    return Shared()


@pytest.fixture
def client(shared: Shared) -> Belief:
    return Belief("curl", [SCHOOL], shared)


def test_patch_of_a_later_version_is_shown_and_an_earlier_one_is_passed_over(client: Belief) -> None:
    client.take(frame("put", cell(3)))
    client.take(frame("patch", cell(4, mean=2410)))
    client.take(frame("patch", cell(2, mean=2390)))
    assert client.state() == {SCHOOL: {NAME: cell(4, mean=2410)}}
    assert client.wrong == []


def test_cell_without_results_is_taken_away_and_comes_back(client: Belief) -> None:
    client.take(frame("put", cell(3)))
    client.take(frame("patch", cell(4, results=0)))
    assert client.state() == {SCHOOL: {}}
    client.take(frame("patch", cell(5)))
    assert client.state() == {SCHOOL: {NAME: cell(5)}}
    assert client.wrong == []


@pytest.mark.parametrize("what", ["put", "patch"])
def test_version_that_goes_back_within_a_generation_is_noticed(client: Belief, what: str) -> None:
    client.take(frame("put", cell(7)))
    client.take(frame(what, cell(6, changed=9)))
    [wrong] = client.wrong
    assert "from version 7 to 6" in wrong


def test_version_of_a_cell_that_was_taken_away_may_not_go_back_either(client: Belief) -> None:
    client.take(frame("put", cell(7)))
    client.take(frame("patch", cell(8, results=0)))
    client.take(frame("patch", cell(7)))
    assert len(client.wrong) == 1


def test_another_generation_counts_its_versions_anew(client: Belief) -> None:
    client.take(frame("put", cell(7)))
    client.take(frame("put", cell(1, changed=9), generation="g2"))
    assert client.wrong == []


def test_version_may_go_back_once_after_a_rollback_of_redis(client: Belief, shared: Shared) -> None:
    client.take(frame("put", cell(7), at=100.0))
    shared.rollbacks.append(110.0)
    client.take(frame("put", cell(5, changed=8), at=111.0))
    assert client.wrong == []
    client.take(frame("put", cell(7, changed=9), at=120.0))
    client.take(frame("put", cell(6, changed=10), at=121.0))
    assert len(client.wrong) == 1


def test_same_version_with_other_figures_is_noticed_across_clients(client: Belief, shared: Shared) -> None:
    client.take(frame("put", cell(3)))
    other = Belief("httpx-sse", [SCHOOL], shared)
    other.take(frame("put", cell(3)))
    assert other.wrong == []
    other.take(frame("put", cell(3, mean=2401)))
    assert len(other.wrong) == 1


def test_patch_that_is_cut_into_frames_without_ids_is_of_the_generation_of_the_put(client: Belief) -> None:
    client.take(frame("put", cell(7)))
    client.take(frame("patch", cell(6, changed=9))._replace(id=""))
    assert len(client.wrong) == 1


def test_id_that_a_browser_would_not_send_back_is_noticed(client: Belief) -> None:
    client.take(frame("put", cell(7))._replace(id="g1.5 or more"))
    assert len(client.wrong) == 1


def test_patch_before_any_put_and_an_organization_that_nobody_asked_for_are_noticed(client: Belief) -> None:
    client.take(frame("patch", cell(3)))
    client.take(frame("put", cell(3), school=OTHER))
    assert len(client.wrong) == 2


def test_stream_that_ends_without_bye_is_told_from_one_that_said_it(client: Belief) -> None:
    for reason in (None, "draining"):
        client.take(Seen(1.0, "open"))
        client.take(Seen(2.0, "subscribed", '{"stream": "n1.abc", "organizations": 1}'))
        if reason:
            client.take(
                Seen(3.0, "bye", json.dumps({"reason": reason, "reconnect": True, "retry_ms": 20_000}))
            )
        client.take(Seen(4.0, "end"))
        client.take(Seen(5.0, "end"))  # a connection that was refused is no stream
    assert [end.reason for end in client.ends] == [None, "draining"]
    assert client.asked_to_wait_until == 23.0


def test_nobody_is_current_before_the_stream_says_so(client: Belief) -> None:
    told = {"complete": None, "as_of": "1970-01-01T00:01:40.000Z", "live": True}
    client.take(Seen(1.0, "open"))
    client.take(Seen(1.0, "subscribed", '{"stream": "n1.abc", "organizations": 1}'))
    client.take(Seen(1.0, "progress", json.dumps(told | {"stale": True})))
    client.take(Seen(1.0, "progress", json.dumps(told | {"live": False})))
    assert not client.current_since(90.0)
    client.take(Seen(1.0, "progress", json.dumps(told)))
    assert client.current_since(100.0)
    assert not client.current_since(100.1)
    client.take(Seen(2.0, "end"))
    assert not client.current_since(90.0)


def test_every_figure_that_differs_from_the_tables_is_named() -> None:
    assert differences({SCHOOL: {NAME: cell(3)}}, {SCHOOL: {NAME: cell(3)}}) == []
    [wrong] = differences({SCHOOL: {NAME: cell(3)}}, {SCHOOL: {NAME: cell(3, mean=2401)}})
    assert "mean 2401 instead of 2400" in wrong
    assert len(differences({SCHOOL: {NAME: cell(3)}}, {SCHOOL: {}})) == 1
    assert len(differences({SCHOOL: {}}, {OTHER: {}})) == 2


def test_events_are_read_off_lines_as_the_standard_says() -> None:
    blocks = Blocks()
    lines = [": ok", "retry: 4187", "", "id: g1.5", "event: put", "data: {", "data:}", "", "event: bye", ""]
    seen = [event for line in lines if (event := blocks.line(line, 1.0))]
    assert seen == [Seen(1.0, "put", "{\n}", "g1.5")]


def test_same_seed_plans_the_same_faults_and_nothing_disturbs_a_rolling_restart() -> None:
    plan = list(islice(planned(7, 2, 4), 200))
    assert plan == list(islice(planned(7, 2, 4), 200))
    assert plan != list(islice(planned(8, 2, 4), 200))
    assert {fault.kind for fault in plan[: len(Kind)]} == set(Kind)
    assert not all(fault.waits for fault in plan)
    for before, fault in pairwise(plan):
        if Kind.ROLLING_RESTART in (before.kind, fault.kind):
            assert fault.waits

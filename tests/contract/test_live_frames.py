"""The Python client reads every golden frame, whole."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from golden_streams import GOLDEN, GoldenEvent, events_of, golden_events

from consumers.live.frames import Frame, Patch, Put, decode
from consumers.live.state import LiveState

EVENTS = {"subscribed", "put", "patch", "progress", "challenge", "bye"}


def decoded(event: GoldenEvent) -> Frame:
    frame = decode(event.event, event.data)
    assert frame is not None
    return frame


def test_every_event_of_the_wire_has_a_golden_frame() -> None:
    assert {event.event for event in golden_events()} == EVENTS


@pytest.mark.parametrize("event", list(golden_events()), ids=lambda event: event.file)
def test_no_field_of_a_golden_frame_is_unknown_to_the_client(event: GoldenEvent) -> None:
    frame = decoded(event)
    assert set(event.body) - {"preliminary"} <= set(frame.__struct_fields__)
    if isinstance(frame, Put | Patch):
        shown = [msgspec.to_builtins(organization) for organization in frame.organizations]
        assert shown == event.body["organizations"]


def test_the_golden_put_and_patch_come_to_the_figures_that_they_say() -> None:
    state = LiveState()
    state.opened(resumed=False)
    for name in ("put", "patch", "progress"):
        for event in events_of((GOLDEN / f"sse-{name}.txt").read_text(encoding="utf-8")):
            state.apply(decoded(event))
    school = state.organization("19990010000101")
    assert school is not None
    assert school.name == "Cañon Elementary"
    assert [name.test for name in school.cells] == ["ELA-SUM"], "the other has no results"
    figures = state.cell("19990010000101", 2026, "ELA-SUM", "03")
    assert figures is not None
    assert (figures.version, figures.results, figures.with_scores, figures.mean) == (4, 4, 3, 2394)
    assert state.complete == datetime(2026, 5, 4, 12, tzinfo=UTC)

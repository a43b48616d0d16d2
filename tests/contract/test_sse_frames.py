"""The bytes of a stream, compared with golden files, and with what sse-starlette sends for the same stream.

A golden file changes only together with docs/wire-format.md and the changelog. To write them anew after such a change:
``RENEW_GOLDEN=1 make test ARGS=tests/contract/test_sse_frames.py``.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from sse_starlette.sse import EventSourceResponse

from gateway import sse
from gateway.frames import (
    challenge_frame,
    patch_frame,
    progress_frame,
    put_frame,
    subscribed_frame,
)
from gateway.images import CellImage, Renderer, patch_fragment, shown_cells, whole_fragment
from gateway.lines import Chunk, Line
from gateway.stream import Stream
from gateway.streaming_response import StreamingResponse
from schemas.aggregates import Cell, CellField, cell_field, contribution, levels_code
from schemas.assessments import Assessment, Claim
from schemas.disclosure.published import PublishedCell
from schemas.errors import UnknownAssessment
from schemas.identifiers import Grade, OrganizationId, TestCode
from schemas.keys import Generation
from schemas.merged_cells import MergedCell
from schemas.organization_list import OrganizationSummary

GOLDEN = Path(__file__).parent / "golden"
# An environment variable rather than an option: pytest's options belong to conftest.
WRITE = os.environ.get("RENEW_GOLDEN") == "1"

NOON = 1_777_896_000_000  # 2026-05-04T12:00:00Z
SCHOOL = OrganizationId("19990010000101")
DISTRICT = OrganizationId("19990010000000")
STREAM = "n1.Zk3vQ2hXw0a"
ELA = cell_field(2026, "ELA-SUM", "03")
MATH = cell_field(2026, "MATH-SUM", "11")


def assessment(school_year: int, test: TestCode, grade: Grade) -> Assessment:
    return Assessment(
        test=test,
        name=f"Test {test}",
        subject="ELA",
        kind="SUM",
        school_year=school_year,
        grades=(grade,),
        levels=("Standard Not Met", "Standard Nearly Met", "Standard Met", "Standard Exceeded"),
        cuts=(2367, 2432, 2490),
        score_range=(2115, 2650),
        claims=(Claim("SOCK_R", "Reading", ("Below", "Near", "Above")),),
    )


def ela() -> Cell:
    cell = Cell()
    for score, level, reading in ((2450, 3, 2), (2431, 2, 2), (2300, 1, 1)):
        cell.apply(contribution(score, levels_code([level, reading]), under_appeal=score == 2431))
    cell.apply(contribution(None))
    cell.version = 4
    return cell


def emptied() -> Cell:
    cell = Cell()
    cell.version = 2
    return cell


def cells() -> dict[CellField, CellImage]:
    renderer = Renderer(assessment)
    return {
        ELA: renderer.image(ELA, MergedCell(NOON, ela())),
        MATH: renderer.image(MATH, MergedCell(NOON + 7, emptied())),
    }


def cursor(milliseconds: int, mark: str = "") -> sse.Cursor:
    return sse.Cursor(Generation("g1"), NOON + milliseconds, mark)


def put(*, stale: bool = False, mark: str = "") -> bytes:
    names = {SCHOOL: ("Cañon Elementary", "school"), DISTRICT: ('The "Birch Valley" Unified', "district")}
    fragments = [
        whole_fragment(OrganizationSummary(organization, *named), shown_cells(cells()))
        for organization, named in names.items()
    ]
    return put_frame(fragments, cursor(123, mark), stale=stale)


def put_without_results() -> bytes:
    fragment = whole_fragment(OrganizationSummary(SCHOOL, "Cañon Elementary", "school"), [])
    return put_frame([fragment], cursor(0), stale=False)


def patch(*, stale: bool = False) -> bytes:
    fragments = [patch_fragment(SCHOOL, cells()), patch_fragment(DISTRICT, {ELA: cells()[ELA]})]
    return patch_frame(fragments, cursor(456), stale=stale)


def masked_cells() -> dict[CellField, CellImage]:
    renderer = Renderer(assessment)
    published = Cell()
    for level, reading, students in ((3, 2, 9), (2, 1, 5)):
        published.apply_all([contribution(2450, levels_code([level, reading]))] * students)
    return {
        ELA: renderer.masked_image(ELA, PublishedCell(3, NOON, published)),
        MATH: renderer.masked_image(MATH, PublishedCell(1, NOON + 7, None)),
    }


def masked(*, changed: bool) -> bytes:
    summary = OrganizationSummary(SCHOOL, "Cañon Elementary", "school")
    if changed:
        return patch_frame([patch_fragment(SCHOOL, masked_cells())], cursor(456), stale=False)
    return put_frame([whole_fragment(summary, shown_cells(masked_cells()))], cursor(123), stale=False)


def subscribed(described: dict[str, object], organizations: int, *dropped: OrganizationId) -> bytes:
    return subscribed_frame(
        STREAM, described, organizations=organizations, expires_ms=NOON + 3_600_000, dropped=dropped
    )


FRAMES: dict[str, Callable[[], bytes]] = {
    "opening": lambda: sse.opening(4187),
    "subscribed": lambda: subscribed({"topics": [f"school/{SCHOOL}", f"district/{DISTRICT}"]}, 2),
    "subscribed-changed": lambda: subscribed(
        {
            "topics": [f"district/{DISTRICT}/schools"],
            "tests": ["ELA-SUM"],
            "grades": ["KG", "03"],
            "years": [2026],
        },
        37,
        SCHOOL,
        DISTRICT,
    ),
    "put": put,
    "put-without-results": put_without_results,
    "put-stale": lambda: put(stale=True),
    "put-changed": lambda: put(mark="3f0c9a41d2"),
    "patch": patch,
    "patch-stale": lambda: patch(stale=True),
    "put-masked": lambda: masked(changed=False),
    "patch-masked": lambda: masked(changed=True),
    "progress": lambda: progress_frame(NOON, NOON + 500, live=True),
    "progress-away": lambda: progress_frame(None, NOON, live=False),
    "progress-stale": lambda: progress_frame(None, NOON + 500, live=True, stale=True),
    "challenge": lambda: challenge_frame(STREAM, expires_ms=NOON + 3_600_000),
    "bye": lambda: sse.bye(sse.CloseReason.MAX_AGE, 5120),
    "bye-token-expired": lambda: sse.bye(sse.CloseReason.TOKEN_EXPIRED, 2000),
    "bye-too-many-streams": lambda: sse.bye(sse.CloseReason.TOO_MANY_STREAMS, 15000),
    "bye-overloaded": lambda: sse.bye(sse.CloseReason.OVERLOADED, 29999),
    "comments": lambda: sse.HEARTBEAT + sse.WARMING + sse.AWAY,
}


@pytest.mark.parametrize("name", list(FRAMES))
def test_frames_are_the_documented_bytes(name: str) -> None:
    golden = GOLDEN / f"sse-{name}.txt"
    if WRITE:
        golden.write_bytes(FRAMES[name]())
    assert FRAMES[name]() == golden.read_bytes()


def test_a_cell_whose_last_result_moved_away_is_in_the_patch_with_zero_and_not_in_the_put() -> None:
    assert b"MATH-SUM" not in FRAMES["put"]()
    assert b'"test":"MATH-SUM"' in FRAMES["patch"]()
    assert b'"grade":"11","results":0,"with_scores":0,"under_appeal":0,"mean":null' in FRAMES["patch"]()


def test_figures_of_a_test_that_this_registry_does_not_have_keep_their_numbers() -> None:
    def unknown(school_year: int, test: TestCode, grade: Grade) -> Assessment:
        raise UnknownAssessment(f"no {test}")

    image = Renderer(unknown).image(ELA, MergedCell(NOON, ela()))
    assert b'"test_name":"ELA-SUM"' in image.encoded
    assert b'{"level":2,"name":"Level 2","count":1,"percent":33.3}' in image.encoded


COURSE = ("opening", "subscribed", "put", "patch", "progress", "challenge", "comments", "bye")


class Recorded:
    """A stream with a fixed course."""

    def start(self, line: Line) -> None:
        for name in COURSE:
            line.write(Chunk(FRAMES[name]()))
        line.end()

    def paused(self) -> None:
        """It holds nothing back."""

    def resumed(self) -> None:
        """It holds nothing back."""

    def gone(self) -> None:
        """It keeps nothing."""


async def recorded_frames() -> AsyncGenerator[bytes, None]:
    for name in COURSE:
        yield FRAMES[name]()


Send = Callable[[Any], Awaitable[None]]
App = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Send], Awaitable[None]]


async def received_from(app: App) -> tuple[dict[bytes, bytes], bytes]:
    """Headers and body that an ASGI application sends to a client that stays."""
    headers: dict[bytes, bytes] = {}
    body = bytearray()

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers.update(message["headers"])
        else:
            body.extend(message.get("body", b""))

    await app({"type": "http", "method": "GET", "path": "/v1/stream", "headers": []}, receive, send)
    return headers, bytes(body)


@pytest.mark.anyio
async def test_our_response_and_sse_starlettes_send_identical_bytes() -> None:
    ours = StreamingResponse(cast(Stream, Recorded()))
    theirs = EventSourceResponse(recorded_frames(), ping=3600)
    our_headers, our_body = await received_from(cast(App, ours))
    _, their_body = await received_from(cast(App, theirs))
    assert our_body == their_body
    assert our_body.endswith(FRAMES["bye"]())
    assert our_headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert our_headers[b"cache-control"] == b"no-store, no-transform"
    assert our_headers[b"x-accel-buffering"] == b"no"

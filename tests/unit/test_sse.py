"""Frames, ids and texts of a stream: what clients rely on, and what nobody can smuggle in."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sse_starlette.event import ServerSentEvent

from gateway import sse
from schemas.errors import InvalidInput
from schemas.keys import Generation


def test_a_frame_has_id_event_and_data_in_this_order() -> None:
    framed = sse.frame("put", b'{"a":1}', event_id="g7.1735689600123")
    assert framed == b'id: g7.1735689600123\nevent: put\ndata: {"a":1}\n\n'


def test_a_stream_opens_with_a_comment_and_its_own_retry() -> None:
    assert sse.opening(4187) == b": ok\nretry: 4187\n\n"


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    st.none() | st.from_regex(r"[A-Za-z0-9._~-]{1,128}", fullmatch=True),
    st.none() | st.integers(0, 100_000),
)
def test_frames_are_the_bytes_that_sse_starlette_makes(
    data: str, event_id: str | None, retry: int | None
) -> None:
    theirs = ServerSentEvent(data=data, event="patch", id=event_id, retry=retry, sep="\n").encode()
    assert sse.frame("patch", data.encode(), event_id=event_id, retry_ms=retry) == theirs


def test_the_opening_and_comments_are_the_bytes_that_sse_starlette_makes() -> None:
    assert sse.opening(2000) == ServerSentEvent(comment="ok", retry=2000, sep="\n").encode()
    assert sse.comment("still here") == ServerSentEvent(comment="still here", sep="\n").encode()


def test_data_is_split_at_every_kind_of_line_end_but_not_at_separators_that_json_may_hold() -> None:
    framed = sse.frame("put", "a\rb\r\nc\nd\u2028e".encode())
    assert framed == "event: put\ndata: a\ndata: b\ndata: c\ndata: d\u2028e\n\n".encode()


@pytest.mark.parametrize(
    "event_id", ["", "a b", "g1.1\nevent: put", "g1.1\x00", "g1:1", "[1]", '"1"', "é", "a" * 129]
)
def test_an_id_that_browsers_would_preflight_or_split_is_refused(event_id: str) -> None:
    with pytest.raises(InvalidInput, match="event id"):
        sse.frame("put", b"{}", event_id=event_id)


@pytest.mark.parametrize("event", ["", "Put", "put\ndata: x", "put:", "a" * 40])
def test_an_event_name_that_could_carry_a_field_is_refused(event: str) -> None:
    with pytest.raises(InvalidInput, match="event name"):
        sse.frame(event, b"{}")


def test_a_comment_stays_one_comment_whatever_its_text() -> None:
    assert sse.comment("a\nevent: put\r\ndata: x") == b": a event: put data: x\n\n"


def test_a_cursor_survives_the_way_to_the_client_and_back() -> None:
    cursor = sse.Cursor(Generation("g7"), 1_735_689_600_123)
    assert sse.parse_cursor(str(cursor)) == cursor
    sse.id_line(str(cursor))  # fits as an id


def test_a_cursor_that_names_what_it_is_about_survives_it_too() -> None:
    cursor = sse.Cursor(Generation("g7"), 1_735_689_600_123).marked("3f0c9a41d2")
    assert str(cursor) == "g7.1735689600123.3f0c9a41d2"
    assert sse.parse_cursor(str(cursor)) == cursor
    assert cursor.marked("") == sse.Cursor(Generation("g7"), 1_735_689_600_123)


def test_the_longest_id_is_short_enough_for_a_reconnect_without_preflight() -> None:
    longest = sse.Cursor(Generation("g" * 64), 10**15 - 1, "3f0c9a41d2")
    assert len(str(longest)) <= 128 and sse.parse_cursor(str(longest)) == longest


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "g1",
        "g1.",
        ".5",
        "g1.x",
        "g1.-5",
        "g1.1.2",
        "g1.1.3F0C9A41D2",
        "g1.1.3f0c9a41d2.1",
        "g1.1e9",
        " g1.1",
        "g1.1\n",
        "g1.1 ",
        "g1.\u0661",
        "g1." + "9" * 16,
        "g" * 65 + ".1",
        '[{"topic":"x","offset":1}]',
    ],
)
def test_an_id_that_is_not_ours_is_no_cursor(text: str | None) -> None:
    assert sse.parse_cursor(text) is None


@given(st.text(max_size=200))
def test_no_forged_id_breaks_the_reader(text: str) -> None:
    cursor = sse.parse_cursor(text)
    assert cursor is None or str(cursor).startswith(cursor.generation)


def test_bye_says_why_whether_to_come_back_and_when() -> None:
    framed = sse.bye(sse.CloseReason.TOKEN_EXPIRED, 3000)
    fields = dict(line.split(": ", 1) for line in framed.decode().splitlines() if line)
    assert fields["event"] == "bye"
    assert fields["retry"] == "3000"
    assert json.loads(fields["data"]) == {"reason": "token_expired", "reconnect": False, "retry_ms": 3000}
    assert "id" not in fields


@pytest.mark.parametrize("reason", list(sse.CloseReason))
def test_every_reason_to_close_can_be_said(reason: sse.CloseReason) -> None:
    assert f'"reason":"{reason.text}"'.encode() in sse.bye(reason, 1)


def test_reconnection_delays_lie_between_two_and_eight_seconds() -> None:
    assert [sse.retry_milliseconds(jitter) for jitter in (0.0, 0.5, 0.999)] == [2000, 5000, 7994]

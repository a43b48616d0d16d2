"""Which Accept headers leave room for a stream: curl's and a browser's do, a JSON client's does not."""

from __future__ import annotations

import pytest

from gateway.accepting import NOT_ACCEPTABLE, accepts_event_stream


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param("", id="none"),
        pytest.param("text/event-stream", id="EventSource"),
        pytest.param("*/*", id="curl"),
        pytest.param("text/*", id="any text"),
        pytest.param("TEXT/Event-Stream ; charset=utf-8", id="in capitals, with a parameter"),
        pytest.param("application/json, text/event-stream;q=0.1", id="rather JSON"),
        pytest.param("text/html,application/xml;q=0.9,*/*;q=0.8", id="an address typed into a browser"),
        pytest.param("text/*;q=0, text/event-stream", id="no other text"),
        pytest.param("*/*;q=0, text/*", id="nothing but text"),
        pytest.param("text/event-stream;q=0, text/event-stream", id="both ways"),
        pytest.param(",, ,", id="commas only"),
        pytest.param("*/*;q=high", id="a weight that is no number"),
    ],
)
def test_a_stream_is_sent_to_whoever_does_not_exclude_it(accept: str) -> None:
    assert accepts_event_stream(accept)


@pytest.mark.parametrize(
    "accept",
    [
        pytest.param("application/json", id="JSON only"),
        pytest.param("text/html, application/json;q=0.9", id="a page or JSON"),
        pytest.param("text/event-stream;q=0", id="anything but a stream, unsaid"),
        pytest.param("*/*, text/event-stream;q=0", id="anything but a stream, said"),
        pytest.param("*/*, text/*; q=0.0", id="anything but text"),
        pytest.param("text/event-streams", id="nearly"),
        pytest.param("*", id="a star is no media range"),
        pytest.param("x" * 60_000, id="60 kB"),
    ],
)
def test_whoever_excludes_a_stream_is_not_left_waiting_for_its_end(accept: str) -> None:
    assert not accepts_event_stream(accept)


def test_the_refusal_names_what_is_offered_and_where_the_rest_is() -> None:
    assert "text/event-stream" in NOT_ACCEPTABLE and "/v1/aggregates/" in NOT_ACCEPTABLE

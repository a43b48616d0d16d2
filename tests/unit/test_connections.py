"""Limits of open streams by subject, address and node; finding a stream by its id; the pace of its changes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gateway.connections import ConnectionLimits, Connections, counted_address
from gateway.sse import CloseReason
from gateway.subscriptions import Subscription
from gateway.tokens import Principal

TEACHER, OTHER = "teacher@example.test", "other@example.test"
HOME, OFFICE = "192.0.2.7", "198.51.100.1"


@dataclass(eq=False)
class Opened:
    """A stream as the node's register sees it."""

    id: str
    subject: str = TEACHER

    def change(self, subscription: Subscription) -> None:
        raise NotImplementedError

    def renew(self, principal: Principal) -> None:
        raise NotImplementedError


def opened(connections: Connections, subject: str, address: str, number: int) -> list[Opened]:
    streams = [Opened(f"node.{subject}{address}{index}", subject) for index in range(number)]
    for stream in streams:
        assert connections.admit(subject, address) is None
        connections.entered(stream, address)
    return streams


def test_a_subject_with_too_many_streams_is_told_so_and_others_are_let_in() -> None:
    connections = Connections(ConnectionLimits(per_subject=3))
    streams = opened(connections, TEACHER, HOME, 3)
    assert connections.admit(TEACHER, OFFICE) is CloseReason.TOO_MANY_STREAMS
    assert connections.admit(OTHER, HOME) is None
    connections.left(streams[0])
    assert connections.admit(TEACHER, OFFICE) is None


def test_an_address_with_too_many_streams_is_overloaded_and_others_are_let_in() -> None:
    connections = Connections(ConnectionLimits(per_address=2))
    streams = opened(connections, TEACHER, HOME, 2)
    assert connections.admit(OTHER, HOME) is CloseReason.OVERLOADED
    assert connections.admit(TEACHER, OFFICE) is None
    assert connections.admit(TEACHER, "") is None
    connections.left(streams[1])
    assert connections.admit(OTHER, HOME) is None


def test_a_node_takes_so_many_streams_and_no_more() -> None:
    connections = Connections(ConnectionLimits(per_node=2))
    opened(connections, TEACHER, HOME, 1)
    [last] = opened(connections, OTHER, "", 1)
    assert connections.admit("somebody@example.test", OFFICE) is CloseReason.OVERLOADED
    connections.left(last)
    assert connections.admit("somebody@example.test", OFFICE) is None


def test_those_sent_away_are_asked_to_come_back() -> None:
    assert CloseReason.TOO_MANY_STREAMS.reconnect and CloseReason.OVERLOADED.reconnect


def test_a_stream_is_found_while_it_is_open() -> None:
    connections = Connections(ConnectionLimits())
    [stream] = opened(connections, TEACHER, HOME, 1)
    assert connections.get(stream.id) is stream and len(connections) == 1
    connections.left(stream)
    connections.left(stream)  # whoever ends it twice takes nobody else's place
    assert connections.get(stream.id) is None and len(connections) == 0


def test_nothing_is_kept_of_those_who_left() -> None:
    connections = Connections(ConnectionLimits(per_subject=1, per_address=1))
    for number in range(100):
        [stream] = opened(connections, f"reader-{number}@example.test", f"192.0.2.{number}", 1)
        connections.left(stream)
    assert not connections._entries and not connections._by_subject and not connections._by_address


def test_changes_come_at_the_pace_of_a_person() -> None:
    now = 0.0
    connections = Connections(ConnectionLimits(), clock=lambda: now)
    [stream] = opened(connections, TEACHER, HOME, 1)
    assert [connections.take_change(stream.id) for _ in range(22)] == [True] * 20 + [False] * 2
    now = 1.0
    assert [connections.take_change(stream.id) for _ in range(2)] == [True, False]
    now = 1_000.0
    assert [connections.take_change(stream.id) for _ in range(21)] == [True] * 20 + [False]


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        (None, ""),
        ("", ""),
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("x" * 5_000, "x" * 64),
    ],
)
def test_an_address_is_counted_as_what_one_client_has_for_itself(host: str | None, counted: str) -> None:
    assert counted_address(host) == counted

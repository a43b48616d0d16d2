"""How a trace is named between processes, whoever wrote the name."""

from __future__ import annotations

import pytest

from schemas.environment import Environment
from schemas.errors import InvalidInput
from schemas.tracing import (
    LINKS_AT_MOST,
    TRACEPARENT,
    TraceContext,
    TracingSettings,
    batch_context,
    format_traceparent,
    newest_batches,
    parse_traceparent,
    traces_of,
    webhook_trace,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
NAMED = TraceContext(int(TRACE, 16), int(SPAN, 16))


def header(number: int, flags: str = "01") -> tuple[str, bytes]:
    return TRACEPARENT, f"00-{number:032x}-{SPAN}-{flags}".encode()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", NAMED),
        (f"00-{TRACE}-{SPAN}-00", NAMED._replace(sampled=False)),
        (f"00-{TRACE}-{SPAN}-03", NAMED),  # a flag of later
        (f"01-{TRACE}-{SPAN}-01-and more", NAMED),  # a version of later
        (f"00-{TRACE}-{SPAN}-01-and more", None),
        (f"01-{TRACE}-{SPAN}-01.", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f" 00-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-0\n", None),
        ("", None),
        ("00-٠" + TRACE[1:] + f"-{SPAN}-01", None),
    ],
)
def test_name_of_a_trace_is_read_as_the_standard_has_it_and_nothing_else_is(
    written: str, expected: TraceContext | None
) -> None:
    assert parse_traceparent(written) == expected
    assert parse_traceparent(written.encode()) == expected


def test_name_that_is_written_is_read_again() -> None:
    for context in (NAMED, NAMED._replace(sampled=False), TraceContext(1, 2)):
        assert parse_traceparent(format_traceparent(context)) == context


def test_batch_is_linked_once_to_each_recorded_import_and_to_no_more_than_fit() -> None:
    once = [[header(1)], [], [("ce_id", b"an id"), header(1)], [header(2, "00")], [(TRACEPARENT, b"\xff")]]
    assert [context.trace_id for context in traces_of(once)] == [1]
    many = traces_of([header(number), header(number + 1000)] for number in range(1, 100))
    assert len(many) == LINKS_AT_MOST


def test_whoever_knows_where_a_partition_stands_knows_the_span_of_its_last_batch() -> None:
    assert batch_context(3, 70) == batch_context(3, 70)
    assert len({batch_context(3, 70), batch_context(3, 71), batch_context(4, 70)}) == 3
    assert newest_batches({0: 5, 1: 9}, {0: 5, 1: 12, 2: 1}) == (batch_context(1, 12), batch_context(2, 1))
    assert len(newest_batches({}, dict.fromkeys(range(100), 1))) == LINKS_AT_MOST


def test_attempts_of_one_message_are_in_one_trace() -> None:
    assert webhook_trace("msg_1") == webhook_trace("msg_1") != webhook_trace("msg_2")


def test_traces_are_off_unless_a_collector_is_named() -> None:
    assert not TracingSettings.read(Environment({})).on
    named = TracingSettings.read(Environment({"SCORES_OTLP_ENDPOINT": "http://collector:4318/"}))
    assert (named.on, named.endpoint, named.percent) == (True, "http://collector:4318", 100)


@pytest.mark.parametrize(
    "address", ["collector:4318", "https://me:hunter2@collector", "http://c/?key=hunter2"]
)
def test_address_that_is_none_or_has_a_password_is_refused_without_being_repeated(address: str) -> None:
    env = Environment({"SCORES_OTLP_ENDPOINT": address})
    TracingSettings.read(env)
    with pytest.raises(InvalidInput, match="SCORES_OTLP_ENDPOINT") as refusal:
        env.check()
    assert "hunter2" not in str(refusal.value)

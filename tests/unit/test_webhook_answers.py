"""What is read of a receiver's answer, and how much of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.webhooks.answers import AnswerReader, Limits

LIMITS = Limits(head_bytes=200, answer_bytes=600, kept_bytes=10)


def reader(pieces: Iterable[bytes], *, ended: bool = False) -> AnswerReader:
    answer = AnswerReader(LIMITS, b"webhook-confirmation")
    for piece in pieces:
        answer.feed(piece)
    if ended:
        answer.end()
    return answer


def seen(answer: AnswerReader) -> tuple[object, ...]:
    return (
        answer.status,
        answer.error,
        answer.retry_after,
        answer.wanted,
        bytes(answer.body),
        answer.whole,
        answer.reusable,
        answer.finished,
    )


def test_a_receivers_answer_is_read_and_its_connection_can_be_used_again() -> None:
    answer = reader(
        [b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nWebhook-Confirmation: yes\r\nContent-Length: 3\r\n\r\nbye"]
    )

    assert seen(answer) == (503, "", b"7", b"yes", b"bye", True, True, True)


WHOLE = {
    "length": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1;a=b\r\nk\r\n0\r\nretry-after: 9\r\n\r\n",
    "interim": b"HTTP/1.1 103 Early\r\nretry-after: 9\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "long": b"HTTP/1.1 200 OK\r\ncontent-length: 300\r\n\r\n" + b"x" * 300,
    "closing": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
    "old": b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "no_length": b"HTTP/1.1 200 OK\r\n\r\nok",
    "too_long": b"HTTP/1.1 200 OK\r\ncontent-length: 3000\r\n\r\n" + b"x" * 3000,
    "headers_too_long": b"HTTP/1.1 200 OK\r\nx: " + b"x" * 3000,
    "two_lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok",
    "two_answers": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
    "upgrade": b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
    "no_http": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nonsense_after": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok\x00\x00",
}


@pytest.mark.parametrize("stream", WHOLE.values(), ids=WHOLE.keys())
@given(cuts=st.lists(st.integers(0, 400), max_size=6))
def test_an_answer_says_the_same_in_whatever_pieces_it_comes(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in pairwise(edges)]

    for ended in (False, True):
        assert seen(reader(pieces, ended=ended)) == seen(reader([stream], ended=ended))


@pytest.mark.parametrize(
    ("name", "reusable"),
    [
        ("length", True),
        ("chunks", True),
        ("interim", True),
        ("nothing", True),
        ("closing", False),
        ("old", False),
        ("two_answers", False),
        ("upgrade", False),
        ("nonsense_after", False),
    ],
)
def test_a_connection_is_used_again_only_after_exactly_one_answer(name: str, reusable: bool) -> None:
    answer = reader([WHOLE[name]])

    assert answer.finished
    assert answer.reusable is reusable


def test_bytes_that_come_after_an_answer_spoil_the_connection() -> None:
    answer = reader([WHOLE["length"], b"HTTP/1.1 200 OK\r\n"])

    assert (answer.status, answer.reusable) == (200, False)


def test_bytes_after_an_answer_as_long_as_headers_may_be_spoil_the_connection() -> None:
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    answer = AnswerReader(Limits(head_bytes=len(whole)), None)

    answer.feed(whole + b"HTTP/1.1 200 OK\r\n")

    assert (answer.status, answer.whole, answer.reusable) == (200, True, False)


def test_interim_answers_leave_nothing_behind_in_the_final_one() -> None:
    answer = reader([WHOLE["interim"]])

    assert (answer.status, answer.retry_after, bytes(answer.body)) == (200, None, b"ok")


def test_what_follows_a_chunked_body_is_not_taken_for_a_header() -> None:
    assert reader([WHOLE["chunks"]]).retry_after is None


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("headers_too_long", "the answer's headers are too long"),
        ("two_lengths", "the answer is not HTTP"),
        ("no_http", "the answer is not HTTP"),
    ],
)
def test_an_answer_without_a_status_is_a_failure_with_a_reason(name: str, error: str) -> None:
    answer = reader([WHOLE[name]])

    assert (answer.status, answer.error, answer.finished) == (None, error, True)


def test_a_body_without_an_end_is_cut_off_and_the_status_stands() -> None:
    answer = reader([b"HTTP/1.1 200 OK\r\n\r\n", *([b"x" * 100] * 20)])

    assert (answer.status, answer.error, answer.finished, answer.whole) == (200, "", True, False)
    assert bytes(answer.body) == b"x" * LIMITS.kept_bytes


FLOODS = {
    "interim_answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
    "one_header": (b"HTTP/1.1 200 OK\r\nset-cookie: ", b"a"),
    "a_status_line": (b"HTTP/1.1 200 ", b"O"),
    "chunk_extension": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a=", b"a"),
    "tiny_chunks": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "trailers": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n"),
    "line_breaks": (b"", b"\r\n"),
}


@pytest.mark.parametrize(("opening", "more"), FLOODS.values(), ids=FLOODS.keys())
@pytest.mark.parametrize("at_once", [1, 50_000])
def test_every_flood_counts_against_a_limit(opening: bytes, more: bytes, at_once: int) -> None:
    answer = reader([opening])
    fed = 0

    while not answer.finished:
        answer.feed(more * at_once)
        fed += len(more) * at_once
        assert fed <= LIMITS.answer_bytes + len(more) * at_once

    assert not answer.reusable
    assert len(answer.body) <= LIMITS.kept_bytes


def test_a_header_that_was_asked_for_is_kept_in_part_when_it_is_long() -> None:
    answer = AnswerReader(Limits(), b"webhook-confirmation")
    answer.feed(b"HTTP/1.1 200 OK\r\nwebhook-confirmation: " + b"t" * 9000 + b"\r\ncontent-length: 0\r\n\r\n")

    assert answer.wanted == b"t" * 1024


def test_the_first_of_several_confirmations_counts() -> None:
    answer = reader(
        [
            b"HTTP/1.1 200 OK\r\nwebhook-confirmation: a\r\nWEBHOOK-CONFIRMATION: b\r\ncontent-length: 0\r\n\r\n"
        ]
    )

    assert answer.wanted == b"a"


@pytest.mark.parametrize(
    ("stream", "status", "whole"),
    [
        (b"", None, False),
        (b"HTTP/1.1 200 O", None, False),
        (
            b"HTTP/1.1 200 OK\r\n\r\nok",
            200,
            True,
        ),  # without a length the end of the connection is that of the body
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", 200, False),
    ],
    ids=["nothing", "half_a_line", "no_length", "half_a_body"],
)
def test_a_connection_that_ends_early_says_what_it_had_said(
    stream: bytes, status: int | None, whole: bool
) -> None:
    answer = reader([stream] if stream else [], ended=True)

    assert (answer.status, answer.whole, answer.reusable) == (status, whole, False)
    assert answer.error == ("" if status else "the connection ended before an answer")
    assert answer.untouched is (stream == b"")


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_no_bytes_make_the_reader_fail(pieces: list[bytes]) -> None:
    answer = reader([b"HTTP/1.1 200 OK\r\n", *pieces], ended=True)

    assert answer.finished
    assert not (answer.error and answer.status)

"""What a rejected record says: reasons with remedies, references, headers, and what it is about."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import generate_latest
from rejected_results import CE, KEY, NOON, SCHOOL, Consumed, parked_import, read, rejected, result

from cli.rejected.records import UNNAMED, Subject, printable, subject, waits_for
from schemas.errors import InvalidInput
from schemas.rejections import Coordinates, Reason, coordinates_of
from streams.metrics import Metrics
from streams.reading import Rejection
from streams.rejected import RejectedTopic, rejected_record
from streams.topic_reading import StoredRecord


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_says_what_to_do_next(reason: Reason) -> None:
    assert reason.remedy.endswith(".")
    assert ("retry`" in reason.remedy) >= reason.parked  # waiting ends with a retry


def test_every_reason_is_in_the_metrics_before_the_first_rejection() -> None:
    shown = generate_latest(Metrics().registry).decode()
    for reason in Reason:
        assert f'scores_rejected_total{{reason="{reason.value}"}} 0.0' in shown


@pytest.mark.parametrize("reference", ["3:1042", "0:0", "import-2:17"])
def test_reference_names_its_coordinates_and_they_name_it(reference: str) -> None:
    assert coordinates_of(reference).reference == reference


@pytest.mark.parametrize("text", ["", "3", "3:", ":5", "3:-1", "a:b", "3:1:2", "Import-3:1", "3:٣"])
def test_what_is_no_reference_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected PARTITION:OFFSET such as 3:1042"):
        coordinates_of(text)


def test_rejected_result_keeps_key_bytes_and_headers_and_adds_its_own() -> None:
    consumed = Consumed(KEY, b"<TDSReport/>", 1042)
    key, value, headers = rejected_record(
        Rejection(consumed, Reason.UNDECODABLE, "JSON is malformed"), 3, NOON
    )
    assert (key, value) == (KEY, b"<TDSReport/>")
    assert headers == [
        *CE,
        ("rejected_reason", b"undecodable"),
        ("rejected_detail", b"JSON is malformed"),
        ("rejected_topic", b"exam-results.v1"),
        ("rejected_partition", b"3"),
        ("rejected_offset", b"1042"),
        ("rejected_time", b"2026-05-02T12:00:00.000+00:00"),
    ]


def test_headers_of_an_earlier_rejection_that_somebody_copied_back_are_not_taken_for_this_one() -> None:
    record = read(rejected("3:7", headers=(*CE, ("rejected_partition", b"9"), ("rejected_retried", b"now"))))
    assert record.origin == Coordinates("exam-results.v1", 3, 7)
    assert record.headers == CE


@pytest.mark.parametrize(
    ("key", "headers", "value", "omitted"),
    [
        (KEY, CE, b"x" * 1_000_000, ("value",)),
        (KEY, (("big", b"x" * 1_000_000),), b"{}", ("headers",)),
        (b"x" * 1_000_000, CE, b"{}", ("key",)),
        (KEY, (("big", b"x" * 500_000),), b"x" * 500_000, ("value",)),
        (KEY, CE, b"{}", ()),
    ],
    ids=["value", "headers", "key", "together", "nothing"],
)
def test_record_that_only_just_fitted_into_kafka_can_still_be_rejected(
    key: bytes, headers: tuple[tuple[str, bytes], ...], value: bytes, omitted: tuple[str, ...]
) -> None:
    stored = rejected(key=key, headers=headers, value=value)
    size = len(stored.key or b"") + len(stored.value or b"") + sum(len(n) + len(v) for n, v in stored.headers)
    assert size < 1_000_000
    assert read(stored).omitted == omitted


def test_record_whose_header_names_are_no_text_can_still_be_rejected() -> None:
    class Fetched:
        key, value, offset, timestamp = KEY, b"{}", 7, 0

        @property
        def headers(self) -> list[tuple[str, bytes]]:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")

    key, value, headers = rejected_record(Rejection(Fetched(), Reason.INVALID, ""), 3, NOON)
    assert (key, value) == (KEY, b"{}")
    assert ("rejected_omitted", b"headers") in headers


def test_long_detail_is_cut_between_characters() -> None:
    record = read(rejected(detail="ñ" * 400))
    assert record.detail == "ñ" * 250


def test_contradictions_are_counted_by_their_reason() -> None:
    class Topic:
        async def send(self, **record: object) -> asyncio.Future[None]:
            acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            acknowledged.set_result(None)
            return acknowledged

    metrics = Metrics()
    rejection = Rejection(Consumed(KEY, result(), 1), Reason.CONTRADICTION, "another event has this version")
    asyncio.run(RejectedTopic(Topic(), metrics).put([rejection, rejection], 0))
    counted = metrics.registry.get_sample_value("scores_rejected_total", {"reason": "contradiction"})
    assert counted == 2


def test_parked_import_is_called_by_its_place_in_the_rejected_topic() -> None:
    record = read(parked_import("b3f0.1", place=17))
    assert record.reference == "import-1:17"
    assert record.parked_import == "b3f0"
    assert record.reason == Reason.UNKNOWN_ORGANIZATION


def test_record_of_somebody_else_in_the_rejected_topic_is_shown_and_breaks_nothing() -> None:
    for headers in (
        (),
        (("rejected_reason", b"\xff"), ("rejected_time", b"yesterday"), ("rejected_partition", b"x")),
        (
            ("rejected_topic", b"payments.v1"),
            ("rejected_partition", b"3"),
            ("rejected_offset", b"5"),
            ("rejected_reason", b"\x1b[2J"),
        ),
    ):
        record = read(StoredRecord(None, b"\x00", 5, 2**62, 1, headers))
        assert (record.reason, record.reference) == (UNNAMED, "import-1:5")


def test_result_waits_for_the_school_that_the_attribution_rule_looked_for() -> None:
    body = subject(result(tested_school="99700011111111"))
    assert waits_for(Reason.UNKNOWN_ORGANIZATION, f"school {SCHOOL} is not in", body) == SCHOOL
    assert waits_for(Reason.UNKNOWN_ORGANIZATION, "school 99700011111111 is not in", body) == "99700011111111"
    assert waits_for(Reason.INVALID, f"school {SCHOOL}", body) is None


@pytest.mark.parametrize(
    "value",
    [None, b"", b"<TDSReport/>", b"[]", b"\xff\xfe", b'{"school": 5, "assessment_id": {}}', b"[" * 5_000],
    ids=["none", "empty", "XML", "list", "bytes", "other types", "deep"],
)
def test_body_that_does_not_say_its_school_has_none(value: bytes | None) -> None:
    assert subject(value) == Subject()


def test_text_that_would_steer_a_terminal_is_escaped() -> None:
    assert printable("\x1b]0;owned\x07 Cañada\n") == "\\x1b]0;owned\\x07 Cañada\\n"

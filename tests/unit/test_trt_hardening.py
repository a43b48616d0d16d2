"""Exam reports are not to be trusted: attacks are refused quickly, nonsense too, and nothing private comes through."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.assessments import Registry, load_registry
from schemas.events import decode_exam_result, encode_event
from schemas.imports import ImportStatus
from schemas.trt import TrtReading, TrtRefused, XmlLimits, read_trt

FIXTURES = Path(__file__).parents[1] / "fixtures" / "trt"
DOCUMENTS = {path.stem: path.read_bytes() for path in sorted(FIXTURES.glob("*.xml"))}
# What the fixtures say of people, in names, birth dates, identifiers that are not the student's, essays and comments.
PRIVATE = ("Perpetua", "PERPETUA", "Quillfeather", "2017-02-29", "07242001", "Ignatius", "Biscuit", "unwell")

# Whatever a document does, it is refused within this time of the processor. Reading a sound one takes a thousandth.
SECONDS = 2.0


@cache
def registry() -> Registry:
    return load_registry()


def outcome(document: bytes, limits: XmlLimits | None = None) -> TrtReading | TrtRefused:
    try:
        return read_trt(document, registry(), limits=limits or XmlLimits())
    except TrtRefused as refused:
        assert refused.errors
        return refused


def refused_as_bad_format(document: bytes, limits: XmlLimits | None = None) -> str:
    begun = time.thread_time()
    refused = outcome(document, limits)
    assert time.thread_time() - begun < SECONDS
    assert isinstance(refused, TrtRefused)
    assert refused.status is ImportStatus.BAD_FORMAT
    return refused.errors[0].error


def inside(declaration: str, body: str = "") -> str:
    return f'<?xml version="1.0"?>\n{declaration}\n<TDSReport>{body}</TDSReport>'


BILLION_LAUGHS = inside(
    "<!DOCTYPE TDSReport ["
    + '<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]>",
    "<Test name='&a11;'/>&a11;",
)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(BILLION_LAUGHS, id="billion laughs"),
        pytest.param(
            inside('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', "&e;"), id="external entity"
        ),
        pytest.param(inside('<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">'), id="external subset"),
        pytest.param(
            inside('<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>'), id="parameter entity"
        ),
        pytest.param(inside("<!DOCTYPE TDSReport>"), id="harmless declaration"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_type_declaration_is_refused_whatever_is_in_it(document: str, encoding: str) -> None:
    assert "DOCTYPE" in refused_as_bad_format(document.encode(encoding))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        pytest.param(b"<TDSReport>" + b"<a>" * 400_000, "nested more than 32 deep", id="deep nesting"),
        pytest.param(b"<TDSReport>" + b"<a/>" * 400_000, "more than 50000 elements", id="many elements"),
        pytest.param(
            b"<TDSReport>" + b'<a b="" c="" d=""  e="" f="" g="" h="" i="" j="" k="" l=""/>' * 49_000,
            "more than 50000 elements or 500000 attributes",
            id="many attributes",
        ),
        pytest.param(
            b'<TDSReport><Test name="' + b"x" * 8_000_000 + b'"/></TDSReport>',
            "an attribute has 8000000 characters",
            id="huge attribute",
        ),
        pytest.param(
            b"<TDSReport>" + b" " * (16 * 1024 * 1024), "at most 16777216 are read", id="huge document"
        ),
        pytest.param(b"<TDSReport>&essay;</TDSReport>", "undeclared entity", id="undeclared entity"),
        pytest.param(
            b'<?xml version="1.0" encoding="klingon"?><TDSReport/>', "unsupported encoding", id="encoding"
        ),
    ],
)
def test_a_document_beyond_the_limits_is_refused_quickly(document: bytes, message: str) -> None:
    assert message in refused_as_bad_format(document)


def test_limits_are_the_callers_to_set() -> None:
    limits = XmlLimits(document_bytes=1000)
    assert "at most 1000 are read" in refused_as_bad_format(DOCUMENTS["v3"], limits)


def test_a_large_essay_is_passed_over() -> None:
    essay = b"<Item><Response>" + b"Biscuit barked. " * 200_000 + b"</Response></Item></Opportunity>"
    reading = outcome(DOCUMENTS["v3"].replace(b"</Opportunity>", essay))
    assert isinstance(reading, TrtReading)
    assert reading.event.scale_score == 2431


def told(result: TrtReading | TrtRefused) -> str:
    """Everything that leaves the reader."""
    if isinstance(result, TrtRefused):
        return f"{result} {result!r} {result.errors!r}"
    return f"{encode_event(result.event).decode()} {result.warnings!r}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_names_birth_dates_and_essays_are_in_no_event(name: str) -> None:
    result = outcome(DOCUMENTS[name])
    assert isinstance(result, TrtReading)
    assert not [word for word in PRIVATE if word in told(result)]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"<![CDATA[", b"<Biscuit ate the moon & ", id="essay with a stray tag"),
        pytest.param(b"]]>", b"]]></Biscuit>", id="essay that closes what it never opened"),
        pytest.param(b"<![CDATA[", b"&Biscuit;<![CDATA[", id="essay with an entity"),
        pytest.param(b'value="Perpetua"', b'value="Perpetua" value="Quillfeather"', id="name given twice"),
        pytest.param(b'value="Perpetua"', b"value=Perpetua", id="name without quotes"),
        pytest.param(b'value="Quillfeather"', b'value="Quillfeather\xff"', id="name in another encoding"),
        pytest.param(b'value="Female"', b'value="Perpetua"', id="name for a sex"),
        pytest.param(b'oppId="100150"', b"", id="no opportunity id"),
        pytest.param(b"<Test ", b"<Exam ", id="no test"),
    ],
)
def test_names_birth_dates_and_essays_are_in_no_error(old: bytes, new: bytes) -> None:
    assert old in DOCUMENTS["v3"]
    result = outcome(DOCUMENTS["v3"].replace(old, new, 1))
    assert not [word for word in PRIVATE if word in told(result)]


def check(document: bytes) -> None:
    result = outcome(document)
    if isinstance(result, TrtReading):
        assert decode_exam_result(encode_event(result.event)) == result.event
    else:
        assert all(len(error.value) <= 80 for error in result.errors)


fuzzing = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@fuzzing
@given(st.sampled_from(sorted(DOCUMENTS)), st.floats(0, 1))
def test_a_truncated_report_is_refused_or_read_and_nothing_else(name: str, share: float) -> None:
    document = DOCUMENTS[name]
    check(document[: int(len(document) * share)])


@fuzzing
@given(
    st.sampled_from(sorted(DOCUMENTS)),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4)), max_size=6),
)
def test_a_report_with_bytes_overwritten_is_refused_or_read_and_nothing_else(
    name: str, edits: list[tuple[float, bytes]]
) -> None:
    document = bytearray(DOCUMENTS[name])
    for share, new in edits:
        at = int(len(document) * share)
        document[at : at + len(new)] = new
    check(bytes(document))


@fuzzing
@given(st.data())
def test_a_report_with_any_text_for_a_value_is_refused_or_read_and_nothing_else(data: st.DataObject) -> None:
    parts = DOCUMENTS[data.draw(st.sampled_from(sorted(DOCUMENTS)))].decode().split('"')
    values = range(1, len(parts) - 1, 2)
    text = st.one_of(
        st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='<&"'), max_size=130),
        st.integers().map(str),
        st.floats().map(str),
        st.datetimes().map(lambda moment: moment.isoformat()),
    )
    for at in data.draw(st.lists(st.sampled_from(values), max_size=5)):
        parts[at] = data.draw(text)
    check('"'.join(parts).encode())


@fuzzing
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(document: bytes) -> None:
    assert isinstance(outcome(document), TrtRefused)

"""Requests taken apart: multipart bodies, JSON arrays, content types."""

from __future__ import annotations

import httpx
import pytest

from gateway.imports.documents import (
    JSON,
    MULTIPART,
    XML,
    Document,
    TooManyDocuments,
    accepted_type,
    clean_filename,
    split_json,
    split_multipart,
)
from schemas.errors import InvalidInput


def multipart(*files: tuple[str, bytes, str]) -> tuple[bytes, bytes]:
    """Body and boundary, as a client makes them."""
    request = httpx.Request("POST", "http://test", files=[("file", file) for file in files])
    _, boundary = accepted_type(request.headers["content-type"])
    assert boundary is not None
    return request.read(), boundary


def test_the_files_of_a_multipart_body_come_in_their_order_with_their_names_and_kinds() -> None:
    body, boundary = multipart(
        ("one.xml", b"<TDSReport/>", "application/xml"),
        ("two.json", b"{}", "application/json"),
        ("ñandú.xml", b"\n<TDSReport/>", "application/octet-stream"),
        ("essay.doc", b"\xd0\xcf", "application/msword"),
    )

    assert split_multipart(body, boundary, 10) == [
        Document(b"<TDSReport/>", XML, "one.xml"),
        Document(b"{}", JSON, "two.json"),
        Document(b"\n<TDSReport/>", XML, "ñandú.xml"),
        Document(b"\xd0\xcf", "application/msword", "essay.doc"),
    ]


def test_a_file_may_hold_what_looks_like_a_boundary() -> None:
    body, boundary = multipart(("one.xml", b"--boundary\r\n--\r\n\r\n", "application/xml"))

    assert split_multipart(body, boundary, 10)[0].data == b"--boundary\r\n--\r\n\r\n"


def test_more_files_than_one_request_may_hold_are_refused() -> None:
    body, boundary = multipart(*[("x.xml", b"<a/>", "application/xml")] * 4)

    with pytest.raises(TooManyDocuments, match="more than 3 documents"):
        split_multipart(body, boundary, 3)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n<a/>',
            "cut off",
            id="cut",
        ),
        pytest.param(b"not multipart at all", "cannot be read", id="no multipart"),
        pytest.param(
            b'--b\r\nContent-Disposition: form-data; name="batch"\r\n\r\nmay\r\n--b--\r\n',
            "'batch' is not a file",
            id="a form field",
        ),
    ],
)
def test_a_multipart_body_that_is_wrong_in_itself_is_refused(body: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        split_multipart(body, b"b", 10)


def test_a_json_array_is_split_into_the_bytes_of_its_events() -> None:
    documents, many = split_json(b' [ {"a": 1} , {"b":[2,3]} ] ', "x.json", 10)

    assert many
    assert [document.data for document in documents] == [b'{"a": 1}', b'{"b":[2,3]}']


@pytest.mark.parametrize("body", [b'{"a": 1}', b"[{}", b"nonsense"])
def test_json_that_is_no_array_is_one_document_whatever_it_holds(body: bytes) -> None:
    assert split_json(body, None, 10) == ([Document(body, JSON)], False)


def test_more_events_than_one_request_may_hold_are_refused() -> None:
    with pytest.raises(TooManyDocuments):
        split_json(b"[1,2,3]", None, 2)


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("application/xml", XML),
        ("text/xml; charset=utf-8", XML),
        ("Application/JSON", JSON),
        ("multipart/form-data; boundary=x", MULTIPART),
    ],
)
def test_content_types_that_are_taken(header: str, kind: str) -> None:
    assert accepted_type(header)[0] == kind


@pytest.mark.parametrize(
    "header", ["", "text/csv", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_content_types_that_are_not_taken_are_named(header: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{header}'; expected application/xml"):
        accepted_type(header)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a.xml", "a.xml"), ("a\r\nb\x00.xml", "ab.xml"), (" ", None), (None, None), ("x" * 300, "x" * 200)],
)
def test_file_names_are_kept_printable_and_short(given: str | None, kept: str | None) -> None:
    assert clean_filename(given) == kept

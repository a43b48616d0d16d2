"""Mutated requests to the import endpoint: bodies of many documents, and what their headers say of them."""

from __future__ import annotations

from random import Random
from typing import Final

from hostile.byte_mutations import framed, garbled
from hostile.event_mutations import event_input
from hostile.inputs import Input, Kind
from hostile.report_mutations import report_input

_FILENAMES: Final = (
    *(
        b"exam.xml",
        b"9010000468.xml",
        b"",
        b"../../etc/passwd",
        b"a\\b.xml",
        b"\xff\xfe.xml",
        b"\x00",
        b"stud.xml",
    ),
    *(b"x" * 2_000, "😀".encode() * 60, b"a;b=c.json", b"%00.xml", b"\xe2\x80\xaegpj.xml"),
)
_PART_TYPES: Final = (
    *(
        b"application/xml",
        b"application/xml",
        b"application/json",
        b"text/plain",
        b"",
        b"application/octet-stream",
    ),
    *(b"image/png", b"application/" + b"x" * 900, b"text/xml; charset=utf-16", b";", b'a="', b"\xff/\xff"),
)
_HEADERS: Final = (
    *(
        b"application/xml",
        b"text/xml; charset=klingon",
        b"application/json",
        b"multipart/form-data",
        b"",
        b";;;=",
    ),
    *(
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary="',
        b"multipart/form-data; boundary=\xff",
    ),
    *(
        b"multipart/form-data; boundary=" + b"b" * 300,
        b"multipart/form-data; boundary*=utf-8''%62",
        b"a/b; " * 500,
    ),
    *(
        b"multipart/form-data; boundary*0=b; boundary*1=",
        b"APPLICATION/JSON;x",
        b'text/xml; a="\\',
        b"x" * 5_000,
    ),
)
_BOUNDARIES: Final = (b"b", b"----WebKitFormBoundary7MA4YWxk", b"-", b"'()+_,-./:=?", b"x" * 70)
_DOCUMENTS_AT_MOST: Final = 8  # the endpoint under test takes five


def request_input(seed: int, index: int) -> Input:
    """The mutated request with this number."""
    rng = Random(seed << 40 | index)
    choice = rng.random()
    if choice < 0.5:
        return _multipart(rng)
    if choice < 0.8:
        return _array(rng)
    body = _document(rng)[1]
    if choice < 0.9:
        return Input(Kind.REQUEST, "content type", rng.choice(_HEADERS), body)
    header = garbled(rng.choice(_HEADERS), rng)
    return Input(Kind.REQUEST, "content type", header, body)


def _multipart(rng: Random) -> Input:
    boundary = rng.choice(_BOUNDARIES)
    parts = []
    for _ in range(rng.randrange(_DOCUMENTS_AT_MOST)):
        filename, document = _document(rng)
        disposition = (
            b'form-data; name="file"' if rng.random() < 0.95 else rng.choice((b"form-data", b"", b";"))
        )
        if rng.random() < 0.95:
            disposition += b'; filename="' + filename + b'"'
        head = b"Content-Disposition: " + disposition + b"\r\nContent-Type: " + rng.choice(_PART_TYPES)
        parts.append(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + document + b"\r\n")
    body = b"".join(parts) + b"--" + boundary + b"--\r\n"
    if rng.random() < 0.5:
        body = garbled(body, rng) if rng.random() < 0.7 else framed(body, rng)
    return Input(Kind.REQUEST, "multipart", b"multipart/form-data; boundary=" + boundary, body)


def _array(rng: Random) -> Input:
    number = rng.randrange(_DOCUMENTS_AT_MOST)
    events = [event_input(rng.randrange(1 << 20), rng.randrange(1 << 20)).body or b"" for _ in range(number)]
    body = b"[" + rng.choice((b",", b" ,\n", b",,", b"")).join(events) + b"]"
    choice = rng.random()
    if choice < 0.1:
        body = b"[" * rng.choice((10, 1_000, 50_000))
    elif choice < 0.2:
        body = b"[" + rng.choice((b"0,", b"{},", b"[],", b'"",')) * rng.choice((4, 5, 6, 10_000)) + b"0]"
    elif choice < 0.5:
        body = garbled(body, rng) if rng.random() < 0.7 else framed(body, rng)
    return Input(Kind.REQUEST, "array of events", b"application/json", body)


def _document(rng: Random) -> tuple[bytes, bytes]:
    """A file's name and its content."""
    # Other seeds than those of the events and reports that are sent by themselves.
    seed, index = 1 << 21 | rng.randrange(1 << 20), rng.randrange(1 << 20)
    filename = rng.choice(_FILENAMES)
    if rng.random() < 0.7:
        return filename, report_input(seed, index).body or b""
    return filename, event_input(seed, index).body or b""

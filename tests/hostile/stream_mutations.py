"""Mutated requests to the push side: streams asked for, and commands to one that is open."""

from __future__ import annotations

from random import Random
from typing import Final
from urllib.parse import quote_from_bytes

import msgspec

from gateway.request_limits import HEAD_BYTES
from hostile.byte_mutations import framed, garbled
from hostile.inputs import Input, Kind
from hostile.sound import schools
from schemas.identifiers import STATE, OrganizationId, ancestry, level_of

OPEN_STREAM: Final = "here.open"  # the one that commands may find

_SUBTREES: Final = (
    "/schools",
    "/districts",
    "/counties",
    "/states",
    "/",
    "/schools/",
    "/*",
    "/SCHOOLS",
    "/..",
)
_TESTS: Final = (
    "ELA-SUM",
    "MATH-SUM",
    "CAST",
    "ela-sum",
    "ELA SUM",
    "",
    "-",
    "A" * 40,
    "A" * 41,
    "ELA-SUM\n",
    "\u0391",
)
_GRADES: Final = ("3", "03", "KG", "k", "TK", "13", "0", "", "3-5", "HS", "\u0663", " 4 ", "1e0", "9" * 5_000)
_YEARS: Final = (
    "2026",
    "2025",
    "26",
    "1999",
    "2199",
    "2200",
    "2026.0",
    "\uff12\uff10\uff12\uff16",
    "-2026",
    "",
)
_MOMENTS: Final = (
    *(
        "2026-05-04T12:00:00Z",
        "2026-05-04T12:00:00.123456789+02:00",
        "2026-05-04t12:00:00z",
        "0",
        "1777896000123",
    ),
    *(
        "2026-05-04T12:00:00",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
    ),
    *(
        "2026-05-04T24:00:00Z",
        "2026-05-04T12:00:60Z",
        "2026-05-04T12:00:00+24:00",
        "1" * 16,
        "",
        "now",
        "-1",
        "1e9",
    ),
)
_IDS: Final = (
    *(
        "g1.1777896000123",
        "g19f2d7c41a8-4-current.1777896000123",
        "g1.1777896000123.0123456789",
        "g1",
        "g1.",
        ".1",
    ),
    *(
        "g1.-1",
        "g1.1e3",
        "g1.1\r\ndata: x",
        "g1.\u0661",
        "x" * 10_000,
        "g1." + "9" * 5_000,
        "{g1.0}:cells",
        "",
    ),
)
_ACCEPTS: Final = (
    *(
        b"text/event-stream",
        b"*/*",
        b"application/json",
        b"text/*;q=0.1",
        b"text/event-stream;q=0",
        b"",
        b",;,",
    ),
    *(
        b"a/b, " * 500 + b"*/*",
        b"text/event-stream;q=nan",
        b"*/*;q=1e999",
        b"\xff/\xff",
        b'text/plain;a="*/*"',
    ),
)
_STREAM_IDS: Final = (
    *(
        OPEN_STREAM,
        OPEN_STREAM,
        OPEN_STREAM,
        OPEN_STREAM,
        OPEN_STREAM,
        OPEN_STREAM,
        "here.gone",
        "there.open",
    ),
    *(
        "here.",
        "here.open\n",
        "*",
        "..",
        "here.open.more",
        "x" * 10_000,
        "here.\u00f6pen",
        "gateway:here.open",
    ),
)
_CONTENT_TYPES: Final = (
    *(b"application/json",) * 20,
    *(
        b"application/json; charset=utf-16",
        b"APPLICATION/JSON",
        b"text/json",
        b"",
        b"multipart/form-data; boundary=x",
    ),
)
_NAMES: Final = (
    "topic",
    "topic",
    "topic",
    "test",
    "grade",
    "year",
    "since",
    "last_event_id",
    "lastEventId",
    "Topic",
)


def stream_input(seed: int, index: int) -> Input:
    """The mutated request with this number.

    Its head is the method and the address in a line of their own, with as many headers below.
    """
    rng = Random(seed << 40 | index)
    choice = rng.random()
    if choice < 0.5:
        return _opening(rng)
    stream_id = rng.choice(_STREAM_IDS)
    address = b"POST /v1/streams/" + quote_from_bytes(stream_id.encode(), safe="*:").encode()
    if choice < 0.55:
        return Input(Kind.STREAM, "renewal", address + b"/renew", b"")
    head = address + b"/subscription\ncontent-type: " + rng.choice(_CONTENT_TYPES)
    return Input(Kind.STREAM, "change", head, _body(rng))


def _opening(rng: Random) -> Input:
    pairs = [("topic", _topic(rng))] if rng.random() < 0.9 else []
    for _ in range(int(rng.random() ** 3 * 12)):
        name = rng.choice(_NAMES)
        pairs.append((name, _value(name, rng)))
    if rng.random() < 0.03:
        pairs *= rng.choice((64, 500, 501, 2_000))
    query = rng.choice((b"&",) * 9 + (b";",)).join(
        name.encode() + b"=" + _escaped(value.encode("utf-8", "surrogatepass"), rng) for name, value in pairs
    )
    if rng.random() < 0.2:
        query = garbled(query, rng)
    lines = [b"GET /v1/stream?" + query.translate(None, b"\r\n")[:HEAD_BYTES]]
    if rng.random() < 0.4:
        lines.append(b"accept: " + rng.choice(_ACCEPTS[: rng.choice((2, 20))]))
    if rng.random() < 0.3:
        identifier = rng.choice(_IDS).encode()
        value = garbled(identifier, rng) if rng.random() < 0.3 else identifier
        # What is no header at all is refused before; what is left here are the bytes that a header can have.
        lines.append(b"last-event-id: " + value.translate(None, b"\r\n\x00"))
    return Input(Kind.STREAM, "opening", b"\n".join(lines), b"")


def _body(rng: Random) -> bytes:
    wanted: dict[str, object] = {"topics": [_topic(rng) for _ in range(1 + int(rng.random() ** 4 * 6))]}
    for name, values in (("tests", _TESTS), ("grades", _GRADES), ("years", _YEARS)):
        if rng.random() < 0.3:
            sound = values[: rng.choice((2, 2, 2, 2, 2, 30))]
            wanted[name] = [rng.choice(sound) for _ in range(rng.choice((1, 1, 2, 5)))]
    if rng.random() < 0.15:
        name = rng.choice(("topics", "tests", "grades", "years", "since", "topic", ""))
        wanted[name] = rng.choice(
            (
                None,
                [],
                "",
                0,
                True,
                {},
                [None],
                [[]],
                [2026],
                [1.5],
                [2**70],
                ["x"] * 65,
                ["x"] * 501,
                "x" * 70_000,
            )
        )
    body = msgspec.json.encode(wanted)
    choice = rng.random()
    if choice < 0.2:
        return garbled(body, rng)
    if choice < 0.25:
        return framed(body, rng)
    if choice < 0.27:
        return rng.choice((b"[", b'{"topics":', b'{"topics":[')) * rng.choice((10, 1_000, 6_000))
    return body


def _topic(rng: Random) -> str:
    """Most often the first school of all or its district, whose reader the checks know."""
    known = schools()
    chain = ancestry(OrganizationId(known[0] if rng.random() < 0.9 else rng.choice(known)))
    organization = chain[rng.choice((0, 0, 0, 1, 1)) if rng.random() < 0.9 else rng.randrange(4)]
    level: str = level_of(organization)
    below = "/schools" if level == "district" and rng.random() < 0.5 else ""
    code: str = organization
    choice = rng.random()
    if choice < 0.05:
        level = rng.choice(("school", "district", "county", "state", "class", "SCHOOL", "", "school "))
    elif choice < 0.1:
        code = rng.choice((code[:-1], code + "0", STATE, "", code[::-1]))
    elif choice < 0.15:
        code = rng.choice(
            (
                *(f" {code} ", f"{code[:2]}-{code[2:7]}-{code[7:]}", f"{code}\x00", f"{code}\r\nid: 1"),
                *(f"{code}\u2028", f"{code}{'-' * 10_000}", "\u0661" * 14),
            )
        )
    elif choice < 0.2:
        below = rng.choice(_SUBTREES)
    return f"{level}/{code}{below}"


def _value(name: str, rng: Random) -> str:
    values = {
        "test": _TESTS,
        "grade": _GRADES,
        "year": _YEARS,
        "since": _MOMENTS,
        "last_event_id": _IDS,
        "lastEventId": _IDS,
    }.get(name)
    if values is None:
        return _topic(rng)
    return rng.choice(values[: rng.choice((2, 2, 2, 2, 30))])  # the sound ones stand first


def _escaped(value: bytes, rng: Random) -> bytes:
    choice = rng.random()
    if choice < 0.7:
        return quote_from_bytes(value, safe="/:").encode()
    if choice < 0.8:
        return b"".join(b"%%%02x" % byte for byte in value)
    if choice < 0.9:
        return value.replace(b"&", b"").replace(b"#", b"")
    return quote_from_bytes(quote_from_bytes(value).encode()).encode()

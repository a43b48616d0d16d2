"""Mutated exam reports: what XML can be made to say, and what can be made of XML."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Final

from hostile.assessment_ids import assessment_id
from hostile.byte_mutations import framed, garbled, spliced
from hostile.inputs import CORPUS, Input, Kind, load, suffix
from hostile.sound import reports, samples, schools

_SAMPLE_SHARE: Final = 0.25
_TOKEN: Final = re.compile(rb"<[^>]*>|[^<]+|<")
# Possessive, and never from the midst of a name: 70,000 letters without an equals sign would otherwise take minutes.
_ATTRIBUTE: Final = re.compile(rb"(?<![\w:.-])([\w:.-]++)(\s*+=\s*+)(\"[^\"]*\"|'[^']*')")

_VALUES: Final = (
    *(b"", b" ", b"0", b"1", b"-1", b"NS", b"ns", b"Y", b"yes", b"1e9", b"9999999", b"99999999", b"2431.5"),
    *(
        b"2431.4999999999999999999999999",
        b"1E+9",
        b"9999999.9E9",
        b"0E-9",
        b"-0",
        b"+2431",
        b"1e",
        b"NaN",
        b"INF",
    ),
    *(b"9" * 500, b"3-12", b"KG", b"K", b"00", b"13", b"UG", b"04", b"4.0", b"true", b"FINAL", b"INITIAL"),
    *(b"2026-04-28T13:05:00", b"2026-04-28T13:05:60Z", b"2026-04-28T24:00:00", b"0001-01-01T00:00:00"),
    *(b"9999-12-31T23:59:59.999999999-23:59", b"1999-12-31T23:59:59-00:01", b"2199-12-31T23:59:59Z"),
    *(
        b"2200-01-01T00:00:00+00:01",
        b"2026-04-28T13:05:00+99:99",
        b"2026-04-28",
        b"20260428T130500",
        b"2026-02-30",
    ),
    *(
        b"reset",
        b"RESET",
        b"scored",
        b"paused",
        b"invalidated",
        b"unknown",
        b"Partial",
        b"IN",
        b"invalid",
        b"SD",
    ),
    *(b"ELPAC-INITIAL-4-2026", b"SBAC-SUM-ELA-3", b"(SBAC)SBAC-SUM-ELA-3-Spring-2025-2026", b"CAST-5-2026"),
    *(b"SBAC-IAB-FIXED-G3E" + b"-2026" * 46, b"ELPAC" * 50, b"a" * 251, b"x" * 66, b"x" * 81, b"x" * 70_000),
    *(b"4294967295", b"2026", b"2027", b"0", "２０２６".encode(), "٣".encode(), "²".encode(), b"K"),
    *(b"99700012222222", b"99700010000000", b"00000000000000", b"99-70001-2222222", b"9970001222222"),
    *(
        b"&#0;",
        b"&#x1F600;",
        b"&#xD800;",
        b"&#x110000;",
        b"&#9;",
        b"&lt;",
        b"&amp;amp;",
        b"&nbsp;",
        b"&",
        b"&;",
    ),
    *(
        b"&#" + b"9" * 5000 + b";",
        b"<",
        b"]]>",
        b"\x00",
        b"\x01",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbf\xbf",
        b"\r\n",
    ),
    *(b"\xe2\x80\xae", b"\xe2\x80\xa8", "é".encode() * 40, b"{}", b"%s%n", b"'; --", b"${jndi:x}"),
)
_ID: Final = re.compile(rb"-\d|\d-")  # of the attributes called "name", those of assessments
_TAGS: Final = (
    *(
        b"TDSReport",
        b"Test",
        b"Examinee",
        b"Opportunity",
        b"Score",
        b"ExamineeAttribute",
        b"Item",
        b"tdsreport",
    ),
    *(
        b"ExamineeRelationship",
        b"x:Test",
        b"xml:a",
        b"a" * 3000,
        "é".encode(),
        b"1",
        b"",
        b"-",
        b":",
        b"Comment",
    ),
)
_NAMES: Final = (
    *(
        b"name",
        b"value",
        b"context",
        b"status",
        b"statusDate",
        b"dateCompleted",
        b"oppId",
        b"measureOf",
        b"grade",
    ),
    *(b"measureLabel", b"academicYear", b"isDemo", b"validity", b"completeness", b"administrationCondition"),
    *(
        b"xmlns",
        b"xmlns:x",
        b"xmlns:xml",
        b"xml:lang",
        b"xml:base",
        b"x:name",
        b"a" * 3000,
        b"",
        b"1",
        b"NAME",
    ),
)
_ASIDES: Final = (
    *(
        b"<!-- -->",
        b"<!-- a -- b -->",
        b"<!---->",
        b"<!--" + b"-" * 99 + b">",
        b"<?x?>",
        b"<?xml?>",
        b"<?",
        b"<?>",
    ),
    *(
        b'<?xml version="1.0"?>',
        b'<?xml-stylesheet href="http://127.0.0.1:9/x.xsl" type="text/xsl"?>',
        b"<!x>",
    ),
    *(
        b"<![CDATA[]]>",
        b"<![CDATA[<Test/>]]>",
        b"<![CDATA[",
        b"]]>",
        b"<![IGNORE[]]>",
        b"&lt;",
        b"&x;",
        b"&#0;",
    ),
    *(
        b'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="file:///etc/passwd"/>',
        b"text",
        b"\x00",
    ),
    *(b'<Score measureOf="Overall" measureLabel="ScaleScore" value="2500"/>', b"<Test/>", b"<Opportunity/>"),
    *(
        b'<ExamineeAttribute name="StudentIdentifier" value="1"/>',
        b"</TDSReport>",
        b"<TDSReport>",
        b"</Test>",
    ),
    *(
        b'<x:y xmlns:x="urn:x"/>',
        b"<x:y/>",
        b'<a xmlns=""/>',
        b'<a xmlns:a="" a:b=""/>',
        b'<a b="1" b="2"/>',
        b"<",
    ),
)
_DECLARATIONS: Final = (
    b"<!DOCTYPE TDSReport>",
    b"<!DOCTYPE TDSReport [",
    b"<!DOCTYPE TDSReport []>",
    b"<!DOCTYPE",
    b"<!doctype TDSReport>",
    b'<!DOCTYPE TDSReport SYSTEM "file:///etc/passwd">',
    b'<!DOCTYPE TDSReport PUBLIC "-//x" "http://127.0.0.1:9/x.dtd">',
    b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x.dtd"> %p;]>',
    b'<!DOCTYPE x [<!ATTLIST Test name CDATA "SBAC-SUM-ELA-3-2026" status CDATA #FIXED "reset">]>',
    b'<!DOCTYPE x [<!ENTITY a "' + b"x" * 10_000 + b'"><!ENTITY b "' + b"&a;" * 5_000 + b'">]>',
    b'<!DOCTYPE x [<!ENTITY a0 "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    + b"]>",
    b'<!DOCTYPE x [<!ENTITY a "&b;"><!ENTITY b "&a;">]>',
    b"<!DOCTYPE x [" + b"<!-- -->" * 2_000 + b"]>",
    b'<!ENTITY e "x">',
)
_ENCODINGS: Final = (
    *(
        "utf-8",
        "UTF-16",
        "utf-32",
        "iso-8859-1",
        "windows-1252",
        "us-ascii",
        "utf-7",
        "ebcdic-cp-us",
        "cp037",
    ),
    *("klingon", "", "utf-8; x", "ISO-10646-UCS-4", "shift_jis", "gb18030", "hz-gb-2312", "x" * 200),
)
_LARGEST: Final = 17_500_000  # somewhat above what is read at all


def report_input(seed: int, index: int) -> Input:
    """The mutated report with this number."""
    rng = Random(seed << 40 | index)
    real = samples()
    document = rng.choice(real) if real and rng.random() < _SAMPLE_SHARE else rng.choice(reports())
    origin = rng.choices(tuple(_MAKERS), _SHARES)[0]
    return Input(Kind.REPORT, origin, None, _MAKERS[origin](document, rng))


def _sound(document: bytes, rng: Random) -> bytes:
    return document


def _attribute_values(document: bytes, rng: Random) -> bytes:
    found = _ATTRIBUTE.findall(document)
    if not found:
        return document
    for _ in range(rng.choice((1, 1, 2, 4))):
        name, equals, value = rng.choice(found)
        choice = rng.random()
        new = rng.choice(_VALUES) if choice < 0.7 else rng.choice(found)[2][1:-1]
        if choice > 0.95:
            new = rng.choice((rng.choice(schools()), rng.choice(schools())[:7] + "0000000")).encode()
        if name == b"name" and choice > 0.3 and _ID.search(value):
            new = assessment_id(rng).encode()
        quote = rng.choice((b'"', b'"', b'"', b"'", b""))
        document = document.replace(
            name + equals + value, name + equals + quote + new + quote, rng.choice((1, -1))
        )
    return document


def _attributes(document: bytes, rng: Random) -> bytes:
    found = list(_ATTRIBUTE.finditer(document))
    if not found:
        return document
    for _ in range(rng.choice((1, 1, 2, 4))):
        attribute = rng.choice(found)
        whole = attribute[0]
        new = rng.choice(
            (
                b"",
                whole + b" " + whole,
                rng.choice(_NAMES) + attribute[2] + attribute[3],
                whole + b" " + rng.choice(_NAMES) + b'="' + rng.choice(_VALUES) + b'"',
                rng.choice(found)[0],
                attribute[1],
                whole.upper(),
                b'xmlns="urn:x" ' + whole,
            )
        )
        document = document.replace(whole, new, 1)
    return document


def _elements(document: bytes, rng: Random) -> bytes:
    tokens = list(_tokens(document))
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not tokens:
            break
        at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        choice = rng.randrange(8)
        if choice == 0:
            del tokens[at]
        elif choice == 1:
            tokens.insert(other, tokens[at])
        elif choice == 2:
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif choice == 3:
            tokens.insert(other, tokens.pop(at))
        elif choice == 4:
            tokens[at] = re.sub(rb"[\w:]+", lambda _: rng.choice(_TAGS), tokens[at], count=1)
        elif choice == 5:
            first, last = min(at, other), max(at, other)
            tokens[first:first] = tokens[first : min(last, first + 40)]
        elif choice == 6:
            first = min(at, other)
            del tokens[first : min(max(at, other), first + 40)]
        else:
            name = rng.choice(_TAGS)
            tokens[at:at] = [b"<" + name + b">", tokens[other], b"</" + name + b">"]
    return b"".join(tokens)


def _asides(document: bytes, rng: Random) -> bytes:
    tokens = list(_tokens(document))
    for _ in range(rng.choice((1, 1, 2, 5))):
        tokens.insert(rng.randrange(len(tokens) + 1), rng.choice(_ASIDES))
    return b"".join(tokens)


def _declared(document: bytes, rng: Random) -> bytes:
    tokens = list(_tokens(document))
    at = 0 if rng.random() < 0.5 else rng.randrange(min(6, len(tokens) + 1))
    tokens.insert(at, rng.choice(_DECLARATIONS))
    if rng.random() < 0.5:
        tokens.insert(rng.randrange(at + 1, len(tokens) + 1), rng.choice((b"&a11;", b"&e;", b"&b;", b"&a;")))
    changed = b"".join(tokens)
    return changed.decode("utf-8", "replace").encode("utf-16") if rng.random() < 0.1 else changed


def _encoded(document: bytes, rng: Random) -> bytes:
    body = re.sub(rb"^<\?xml[^>]*\?>", b"", document)
    text = f'<?xml version="{rng.choice(("1.0", "1.1", "2.0", ""))}" encoding="{rng.choice(_ENCODINGS)}"?>'
    text += body.decode("utf-8", "replace")
    if rng.random() < 0.3:
        text = text.replace("<TDSReport>", "<TDSReport>\u00e9\u4e2d\U0001f600", 1)
    try:
        encoded = text.encode(rng.choice(_ENCODINGS[:9]), "xmlcharrefreplace")
    except LookupError:
        encoded = text.encode()
    return rng.choice((b"", b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")) + encoded


def _bytes(document: bytes, rng: Random) -> bytes:
    return garbled(document, rng)


def _spliced(document: bytes, rng: Random) -> bytes:
    return spliced(document, rng.choice(reports()), rng)


def _framed(document: bytes, rng: Random) -> bytes:
    return framed(document, rng)


def _cut(document: bytes, rng: Random) -> bytes:
    return document[: rng.randrange(len(document) + 1)]


def _several(document: bytes, rng: Random) -> bytes:
    for _ in range(rng.randint(2, 4)):
        document = rng.choice((_attribute_values, _attributes, _elements, _asides, _bytes))(document, rng)
    return document


def _bombs(document: bytes, rng: Random) -> bytes:
    """Few bytes that become many, or many to begin with."""
    size = int(1_000 * (_LARGEST / 1_000) ** (rng.random() ** 2))
    head, tail = b'<TDSReport><Test name="SBAC-SUM-ELA-3-2026"/>', b"</TDSReport>"
    unit = rng.choice(
        (
            b"<a>",
            b"<a/>",
            b'<a b="" c="" d="" e="" f="" g="" h=""/>',
            b"<Test/>",
            b"<!-- -->",
            b"<?x y?>",
            b"&lt;",
            b"&#65;",
            b"<![CDATA[x]]>",
            b"]]",
            b"\n",
            b'<x xmlns:a="urn:a" xmlns="urn:b">',
            b"\xc3\xa9",
            b"</a>",
            b"<",
            b'<Score measureOf="1" measureLabel="ScaleScore" value="1"/>',
            b'<ExamineeAttribute name="SSID" value="1234"/>',
        )
    )
    choice = rng.randrange(6)
    if choice == 0:
        many = b" ".join(b'a%d="x"' % number for number in range(size // 10))
        return head + b"<Examinee " + many + b"/>" + tail
    if choice == 1:
        attribute = (
            rng.choice((b"name", b"value", b"oppId")) + b'="' + rng.choice((b"x", b"&lt;", b"\n")) * size
        )
        return head + b"<Opportunity " + attribute + b'"/>' + tail
    if choice == 2:
        return b"<" + b"a" * size + b"/>"
    if choice == 3:
        opening = rng.choice((b"<!--", b"<?x ", b"<![CDATA[", b"<a b='"))
        return head + opening + rng.choice((b"x", b"-", b"]", b"&", b"\xff")) * size
    section = rng.choice((b"", b"<Examinee>", b"<Opportunity>"))
    return head + section + unit * (size // len(unit)) + (tail if rng.random() < 0.5 else b"")


def _corpus(document: bytes, rng: Random) -> bytes:
    found = rng.choice(_kept())
    return garbled(found, rng) if rng.random() < 0.8 else found


@cache
def _kept() -> tuple[bytes, ...]:
    return tuple(load(path).body or b"" for path in sorted(CORPUS.glob(f"*{suffix(Kind.REPORT)}")))


@cache
def _tokens(document: bytes) -> tuple[bytes, ...]:
    return tuple(_TOKEN.findall(document))


_MAKERS: Final[dict[str, Callable[[bytes, Random], bytes]]] = {
    "sound": _sound,
    "attribute values": _attribute_values,
    "attributes": _attributes,
    "elements": _elements,
    "comments, instructions, stray tags": _asides,
    "document type declarations": _declared,
    "encodings": _encoded,
    "bytes": _bytes,
    "two reports spliced": _spliced,
    "framing": _framed,
    "cut off": _cut,
    "several at once": _several,
    "bombs": _bombs,
    "kept inputs": _corpus,
}
_SHARES: Final = (2, 24, 12, 12, 7, 5, 6, 12, 4, 3, 3, 8, 0.3, 2)

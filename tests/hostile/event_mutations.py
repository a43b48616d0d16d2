"""Mutated exam events: what JSON can be made to say, at and beyond every bound of the event's schema."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Final

import msgspec

from hostile.assessment_ids import assessment_id
from hostile.byte_mutations import framed, garbled, spliced
from hostile.inputs import CORPUS, Input, Kind, load, suffix
from hostile.sound import PSEUDONYMS, SoundEvent, events, schools
from schemas.identifiers import StudentId

Field = tuple[bytes, bytes]

_DATES: Final = tuple(
    f'"{text}"'.encode()
    for text in (
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "1969-12-31T23:59:59.999999Z",
        "1970-01-01T00:00:00+00:00",
        "0001-01-01T00:00:00+23:59",  # in UTC before the first year
        "9999-12-31T23:59:59.999999-23:59",  # in UTC after the last
        "1582-10-10T00:00:00Z",
        "2000-02-29t12:00:00z",
        "2026-04-28 12:00:00.1234567891Z",
        "2026-04-28T12:00:00-00:00",
        "2038-01-19T03:14:08Z",
        "2262-04-11T23:47:16.854776Z",  # where nanoseconds since 1970 leave 64 bits
    )
)
_NO_DATES: Final = tuple(
    f'"{text}"'.encode()
    for text in (
        "2026-06-30T23:59:60Z",  # a leap second
        "2026-04-28T24:00:00Z",
        "2026-02-29T12:00:00Z",
        "0000-01-01T00:00:00Z",
        "10000-01-01T00:00:00Z",
        "2026-04-28T12:00:00",
        "2026-04-28T12:00:00+24:00",
        "2026-04-28T12:00:00+0700",
        "9999-12-31T23:59:59.9999999Z",  # rounds up out of the calendar
        "-001-01-01T00:00:00Z",
        "2026-04-28",
        "2026-W18-2T12:00:00Z",
        "now",
        "",
    )
)
_WEIRD: Final = (
    *(b"null", b"true", b"false", b"0", b"-1", b"1", b"-0", b"1.0", b"-0.0", b"1e5", b"1e400", b"-1e-400"),
    *(b"2147483648", b"9223372036854775807", b"9223372036854775808", b"18446744073709551616"),
    *(b"-9223372036854775809", b"9" * 40, b"9" * 5000, b"0." + b"1" * 400, b"NaN", b"Infinity", b"-Infinity"),
    *(b"01", b"+1", b".5", b"1.", b"0x10", b"nul", b"True", b"undefined", b"'x'", b"", b"\x00"),
    *(b'""', b'" "', b'"x"', b'"0"', b'"\\u0000"', b'"\\ud83d\\ude00"', b'"\\ud800"', b'"\\udc00\\ud800"'),
    *(b'"\xff"', b'"\xed\xa0\x80"', b'"\xc0\xaf"', b'"\xf4\x90\x80\x80"', b'"\n"', b'"\x00"', b'"\\x41"'),
    *(b'"', b'"\\', b'"\\u12"', b"[]", b"{}", b"[[]]", b"[{}]", b"[null]", b'{"":""}', b"[1,]", b'{"a":1,}'),
)
_LENGTHS: Final = (0, 1, 40, 41, 65, 66, 80, 81, 250, 251, 1000)
_DEPTHS: Final = (2, 10, 100, 500, 990, 1000, 1010, 2000, 20_000)
_LETTERS: Final = (b"a", b"\\u0000", "ñ".encode(), "😀".encode(), b"\\ud83d\\ude00", b"0", b" ", b"\\n")
# By field: values at its bounds, on both sides of them.
_BOUNDS: Final[dict[bytes, tuple[bytes, ...]]] = {
    b'"assessment_id"': (
        b'"ELPAC-INITIAL-4-2026"',
        b'"SBAC-SUM-ELA-3"',
        b'"(SBAC)SBAC-SUM-ELA-3-Spring-2025-2199"',
        b'"(sbac)sbac-sum-ela-3-spring-2025-2026"',
        b'"(SBAC)SBAC-SUM-ELA-9-Spring-2025-2026"',
        b'"SBAC-IAB-FIXED-G3E-' + b"-2026" * 40 + b'"',
        b'"SBAC-IAB-FIXED-G3E-' + b"A." * 29 + b'-2026"',
        b'"SBAC-IAB-FIXED-G3E-\\u017fI-2026"',
        b'"' + b"ELPAC" * 50 + b'"',
        b'"CAST-GRADE-HS-Spring-2025-2026"',
        b'"CAST-13-2026"',
    ),
    b'"school_year"': (b"1999", b"2000", b"2026", b"2199", b"2200", b"2025"),
    b'"status"': tuple(
        f'"{status}"'.encode()
        for status in (
            *("scored", "completed", "reported", "submitted", "handscoring", "pending", "paused", "expired"),
            *("appeal", "invalidated", "reset", "RESET", "reset ", "rescored", ""),
        )
    ),
    b'"status_date"': _DATES + _NO_DATES,
    b'"completed"': (*_DATES, *_NO_DATES, b"null"),
    b'"sequence"': (
        *(b"0", b"1", b"-1", b"9223372036854775806", b"9223372036854775807", b"9223372036854775808"),
        *(b"4294967296", b"9007199254740993"),
    ),
    b'"student_id"': (b"null", b'""', b'"1"', b'"\\u0000"', '"７００"'.encode(), b'"a b"'),
    b'"school"': (
        *(b"null", b'"00000000000000"', b'"99999999999999"', b'"73000000000000"', b'"99700012222222\\n"'),
        *(b'" 9970001222222"', b'"9970001222222"', b'"997000122222222"', '"٩٩٧٠٠٠١٢٢٢٢٢٢٢"'.encode()),
    ),
    b'"grade"': (b'"KG"', b'"01"', b'"12"', b'"13"', b'"00"', b'"03\\n"', b'"3"', b"null", b"3"),
    b'"enrolled_grade"': (b'"KG"', b'"12"', b'"03\\n"', b'"kg"', b"null"),
    b'"condition"': (b'"Valid"', b'"SD"', b'"NS"', b'"IN"', b'"valid"', b"null"),
    b'"validity"': (b'"valid"', b'"invalid"', b'"Invalid"', b"null"),
    b'"attempted"': (b'"Y"', b'"P"', b'"N"', b'"y"', b"null"),
    b'"include_indicator"': (b'"Y"', b'"T"', b'"N"', b'"E"', b'"R"', b'"X"', b"null"),
    b'"scale_score"': (b"0", b"1", b"4095", b"4096", b"-1", b"2114", b"2115", b"2900", b"null"),
    b'"level"': (b"0", b"1", b"2", b"3", b"4", b"5", b"null"),
    b'"scale_score_text"': (b'"2431.4999"', b'"' + b"9" * 40 + b'"', b'"' + b"9" * 41 + b'"'),
    b'"scale_score_error"': (b'"24"', b'"' + b"9" * 41 + b'"'),
    b'"completeness"': (b'"Complete"', b'"Partial"', b'"complete"'),
    b'"tested_school"': (b"null", b'"99700012222222"', b'"99999999999999"', b'"x"'),
    b'"claims"': (
        b"[]",
        b"null",
        b'[{"code":"1","level":0}]',
        b'[{"code":"1","level":4}]',
        b'[{"code":"1","level":5}]',
        b'[{"code":"","level":1}]',
        b'[{"code":"' + b"x" * 41 + b'"}]',
        b'[{"code":"1","score":4096}]',
        b'[{"code":"1"},{"code":"1"}]',
        b'[{"code":"1","level":1},{"code":"1","level":1}]',
        b'[{"code":"SOCK_R","level":3},{"code":"SOCK_R","level":2}]',
        b"[" + b'{"code":"none of ours","level":4},' * 5 + b'{"code":"1","level":1}]',
        b"[" + b'{"code":"none of ours","level":4},' * 6 + b'{"code":"1","level":1}]',
        b"[[]]",
        b'[{"level":1}]',
        b"{}",
    ),
    b'"subgroups"': (b"null", b"{}", b'{"sex":1}', b'{"ethnicities":[1]}', b'{"migrant":"yes"}', b"[]"),
}
_NAMES: Final = (*_BOUNDS, b'"opportunity_id"')
_STRINGS: Final = (
    b'"assessment_id"',
    b'"opportunity_id"',
    b'"student_id"',
    b'"scale_score_text"',
    b'"unknown"',
)


def event_input(seed: int, index: int) -> Input:
    """The mutated event with this number."""
    rng = Random(seed << 40 | index)
    sound = rng.choice(events())
    # Each input is a version of its own: of two exams completed at once, either may count.
    fields = [field for field in sound.fields if field[0] != b'"sequence"']
    fields.append((b'"sequence"', str(index * 16 + 16).encode()))
    origin = _draw(rng)
    return _MAKERS[origin](origin, sound, fields, rng)


def body_of(fields: list[Field]) -> bytes:
    """The JSON text of some names and values, which need be neither."""
    return b"{" + b",".join([name + b":" + value for name, value in fields]) + b"}"


def _sound(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    return Input(Kind.EVENT, origin, sound.key, body_of(fields))


def _extremes(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    """An event that the schema allows, at the ends of what it allows."""
    assessment = sound.assessment
    lowest, highest = assessment.score_range or (0, 4095)
    values = dict(fields)
    key = sound.key
    for _ in range(rng.randint(1, 6)):
        choice = rng.randrange(9)
        if choice == 0:
            values[b'"status_date"'] = rng.choice(_DATES)
        elif choice == 1:
            values[b'"completed"'] = rng.choice(_DATES)
        elif choice == 2:
            values[b'"sequence"'] = rng.choice((b"0", b"9223372036854775807", b"4294967296"))
        elif choice == 3:
            values[b'"scale_score"'] = str(rng.choice((lowest, highest, lowest + 1, highest - 1))).encode()
            values[b'"level"'] = str(rng.randint(1, assessment.highest_level)).encode()
        elif choice == 4 and assessment.claims:
            claims = [
                b'{"code":"%s","level":%d,"score":%d}'
                % (claim.code.encode(), rng.randint(1, len(claim.levels)), rng.choice((0, 4095)))
                for claim in assessment.claims
            ]
            rng.shuffle(claims)
            values[b'"claims"'] = b"[" + b",".join(claims[:6]) + b"]"
        elif choice == 5:
            values[b'"status"'] = rng.choice(_BOUNDS[b'"status"'][:11])
        elif choice == 6:
            values[b'"school"'] = f'"{rng.choice(schools())}"'.encode()
        elif choice == 7:
            values[b'"opportunity_id"'] = b'"' + rng.choice(_LETTERS) * rng.choice((1, 80)) + b'"'
        elif b'"student_id"' in values:
            student = b'"' + rng.choice(_LETTERS) * rng.choice((1, 2, 64, 65)) + b'"'
            values[b'"student_id"'] = student
            key = _key_of(student) or key
    return Input(Kind.EVENT, origin, key, body_of(list(values.items())))


def _values(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    key = sound.key
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        key = _change_value(fields, key, rng)
    return Input(Kind.EVENT, origin, key, body_of(fields))


def _change_value(fields: list[Field], key: bytes, rng: Random) -> bytes:
    """Give one field another value; the key that goes with it."""
    name = rng.choice(_NAMES)
    choice = rng.random()
    if choice < 0.06:
        name, value = b'"assessment_id"', f'"{assessment_id(rng)}"'.encode()
    elif choice < 0.5 and name in _BOUNDS:
        value = rng.choice(_BOUNDS[name])
    elif choice < 0.85:
        value = rng.choice(_WEIRD)
    else:
        name = rng.choice(_STRINGS)
        value = b'"' + rng.choice(_LETTERS) * rng.choice(_LENGTHS) + b'"'
    fields[:] = [field for field in fields if field[0] != name]
    fields.insert(rng.randrange(len(fields) + 1), (name, value))
    return (_key_of(value) or key) if name == b'"student_id"' and rng.random() < 0.8 else key


def _structure(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    for _ in range(rng.choice((1, 1, 2, 3))):
        _change_structure(fields, rng)
    return Input(Kind.EVENT, origin, sound.key, body_of(fields))


def _change_structure(fields: list[Field], rng: Random) -> None:
    at = rng.randrange(len(fields)) if fields else 0
    choice = rng.randrange(7)
    if not fields or choice == 0:
        fields.insert(at, (rng.choice((b'""', b'"unknown"', b"null", b"1", b"status", b'"\xff"')), b"1"))
    elif choice == 1:
        del fields[at]
    elif choice == 2:
        fields.append(fields[at])
    elif choice == 3:
        name = fields[at][0]
        fields.insert(rng.randrange(len(fields) + 1), (name, rng.choice(_BOUNDS.get(name, _WEIRD))))
    elif choice == 4:
        rng.shuffle(fields)
    elif choice == 5:
        name, value = fields[at]
        other = rng.choice((name.upper(), name[:-1] + b' "', name.replace(b"_", b"-"), b'"\\u0073tatus"'))
        fields[at] = (other, value)
    else:
        other_at = rng.randrange(len(fields))
        (name, value), (other_name, other_value) = fields[at], fields[other_at]
        fields[at], fields[other_at] = (name, other_value), (other_name, value)


def _nested(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    depth = rng.choice(_DEPTHS)
    opening, inside, closing = rng.choice(
        ((b"[", b"", b"]"), (b'{"a":', b"1", b"}"), (b"[", b'"\xff"', b"]"), (b'[{"code":', b"{}", b"}]"))
    )
    value = opening * depth + inside + closing * (depth if rng.random() < 0.7 else rng.randrange(depth))
    fields.insert(rng.randrange(len(fields) + 1), (rng.choice((*_NAMES, b'"unknown"')), value))
    return Input(Kind.EVENT, origin, sound.key, body_of(fields))


def _large(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    size = rng.choices((1_000, 5_000, 50_000, 250_000, 1_000_000), (40, 40, 14, 4, 2))[0]
    name, value = rng.choice(
        (
            (b'"status"', b'"' + b"x" * size + b'"'),
            (b'"student_id"', b'"' + b"\\u0041" * (size // 6) + b'"'),
            (b'"assessment_id"', b'"' + b"SBAC-" * (size // 5) + b'"'),
            (b'"subgroups"', b'{"ethnicities":[' + b'"a",' * (size // 4) + b'"a"]}'),
            (b'"claims"', b"[" + b'{"code":"1"},' * (size // 13) + b'{"code":"1"}]'),
            (b'"sequence"', b"1" * size),
            (b'"' + b"n" * size + b'"', b"1"),
            (b'"unknown"', b"[" + b"0," * (size // 2) + b"0]"),
            (b'"unknown"', b"1" + b" " * size),
        )
    )
    fields.insert(rng.randrange(len(fields) + 1), (name, value))
    return Input(Kind.EVENT, origin, sound.key, body_of(fields))


def _frame(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    return Input(Kind.EVENT, origin, sound.key, framed(body_of(fields), rng))


def _garble(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    return Input(Kind.EVENT, origin, sound.key, garbled(body_of(fields), rng))


def _splice(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    other = list(rng.choice(events()).fields)
    body = spliced(body_of(fields), body_of(other), rng)
    if rng.random() < 0.3:
        body = garbled(body, rng)
    return Input(Kind.EVENT, origin, sound.key, body)


def _key(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    key = rng.choice(
        (
            *(
                None,
                b"",
                sound.key.upper(),
                sound.key[:-1],
                sound.key + b"0",
                rng.randbytes(24),
                b"\xff" * 24,
            ),
            *(
                rng.choice(events()).key,
                b"g" * 24,
                b"0" * 24,
                b"0" * 23 + b" ",
                sound.key + b"\n",
                b"k" * 5000,
            ),
        )
    )
    kept = [field for field in fields if field[0] != b'"student_id"'] if rng.random() < 0.5 else fields
    if rng.random() < 0.5:
        kept = [(name, b'"reset"' if name == b'"status"' else value) for name, value in kept]
    body = None if rng.random() < 0.05 else body_of(kept)  # None: what a compacted topic calls a tombstone
    return Input(Kind.EVENT, origin, key, body)


def _several(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    key = _change_value(fields, sound.key, rng)
    _change_structure(fields, rng)
    body = body_of(fields)
    return Input(Kind.EVENT, origin, key, garbled(body, rng) if rng.random() < 0.5 else framed(body, rng))


def _corpus(origin: str, sound: SoundEvent, fields: list[Field], rng: Random) -> Input:
    found = rng.choice(_kept())
    body = found.body
    if body is not None and rng.random() < 0.8:
        body = garbled(body, rng) if rng.random() < 0.6 else spliced(body, body_of(fields), rng)
    return Input(Kind.EVENT, origin, found.head, body)


@cache
def _kept() -> tuple[Input, ...]:
    return tuple(load(path) for path in sorted(CORPUS.glob(f"*{suffix(Kind.EVENT)}")))


def _key_of(student: bytes) -> bytes | None:
    """The record key of a student's JSON text; None when that is none."""
    try:
        text = msgspec.json.decode(student, type=str)
        return PSEUDONYMS.student_key(StudentId(text)).encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


_MAKERS: Final[dict[str, Callable[[str, SoundEvent, list[Field], Random], Input]]] = {
    "sound": _sound,
    "legal extremes": _extremes,
    "values": _values,
    "structure": _structure,
    "nesting": _nested,
    "size": _large,
    "framing and encoding": _frame,
    "bytes": _garble,
    "two events spliced": _splice,
    "record key": _key,
    "several at once": _several,
    "kept inputs": _corpus,
}
_SHARES: Final = (4, 14, 26, 11, 1.2, 0.8, 4, 15, 8, 5, 9, 2)


def _draw(rng: Random) -> str:
    return rng.choices(tuple(_MAKERS), _SHARES)[0]

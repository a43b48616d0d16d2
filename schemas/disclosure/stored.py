"""The stored form of a family: its schools and blocks, as compressed MessagePack.

What totals contain, and which organizations are marked, follows from these and is not stored.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

import msgspec

from schemas.disclosure.block import Block
from schemas.disclosure.held import Held, held_from
from schemas.disclosure.school import School
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId

FORMAT: Final = 1


class _School(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    organization: str
    levels: tuple[int, ...]
    score_sum: int
    gone: tuple[int, ...]
    known: tuple[int, ...]
    moved_in: tuple[int, ...]
    changed_ms: int
    seen_ms: int
    is_present: bool
    is_marked: bool
    block: int | None  # its place among the blocks


class _Block(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    levels: tuple[int, ...]
    score_sum: int


class _Family(msgspec.Struct, array_like=True, frozen=True, gc=False, forbid_unknown_fields=True):
    format: int
    left_before: int
    schools: list[_School]
    blocks: list[_Block]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Family).decode


def pack_schools(schools: Iterable[School], left_before: int) -> bytes:
    """The stored form of a family's schools and their blocks."""
    places: dict[Block, int] = {}
    stored = [
        _School(
            school.organization,
            school.actual.levels,
            school.actual.score_sum,
            school.gone,
            school.known,
            school.moved_in,
            school.changed_ms,
            school.seen_ms,
            school.is_present,
            school.is_marked,
            places.setdefault(school.block, len(places)) if school.block else None,
        )
        for school in schools
    ]
    blocks = [_Block(block.held.levels, block.held.score_sum) for block in places]
    return zlib.compress(_encode(_Family(FORMAT, left_before, stored, blocks)), level=1)


def unpack_schools(packed: bytes) -> tuple[list[School], int]:
    """Schools, their blocks put together again, and how many students left one in the last round.

    Raises:
        InvalidInput: the bytes are no family of this format.
    """
    try:
        stored = _decode(zlib.decompress(packed))
        if stored.format != FORMAT:
            raise ValueError(f"format {stored.format}")
        members: list[list[School]] = [[] for _ in stored.blocks]
        schools: list[School] = []
        for one in stored.schools:
            school = _school(one)
            schools.append(school)
            if one.block is not None:
                members[one.block].append(school)
        for its, block in zip(members, stored.blocks, strict=True):
            made = Block(its, held_from(block.levels, block.score_sum))
            for school in its:
                school.block = made
    except (zlib.error, msgspec.DecodeError, ValueError, IndexError) as error:
        raise InvalidInput(
            f"{len(packed)} bytes starting with {packed[:3].hex()} are no family of format {FORMAT} ({error}); "
            "restore the publisher's tables from a backup"
        ) from error
    return schools, stored.left_before


def _school(stored: _School) -> School:
    school = School(OrganizationId(stored.organization), stored.changed_ms)
    school.actual = Held(stored.levels, stored.score_sum)
    school.gone, school.known, school.moved_in = stored.gone, stored.known, stored.moved_in
    school.seen_ms = stored.seen_ms
    school.is_present, school.is_marked = stored.is_present, stored.is_marked
    return school

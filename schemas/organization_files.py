"""Files that list schools, districts and counties, read into directory entries.

Three forms are told apart by their header line, never by the file's name:

    the state's entity files   County Code, District Code, School Code, Type ID, ... ("^" or commas between the fields)
    warehouse hierarchies      district_id, district_name, school_id, school_name, ... (one line a school)
    our own plain files        cds, name, kind (and, if wanted, charter)

Columns are found by their names, because the state's files changed the order of theirs. Text is UTF-8, or else
Windows-1252, as the state writes it. A file with faults is refused as a whole, with every fault and its line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from schemas.errors import InvalidIdentifier, InvalidInput
from schemas.events import OrganizationEntry
from schemas.identifiers import (
    CANARY_COUNTY,
    OrganizationId,
    OrganizationLevel,
    district_of,
    is_canary,
    level_of,
    organization_id,
)

# The state's Type ID: what the line describes, and for schools whose charter it is. The District Name of a type 9 line
# is the charter's own name; nothing reads it, because districts are named by their own (type 6) lines.
_TYPES: Final[dict[str, tuple[OrganizationLevel, str | None]]] = {
    "4": (OrganizationLevel.STATE, None),
    "5": (OrganizationLevel.COUNTY, None),
    "6": (OrganizationLevel.DISTRICT, None),
    "7": (OrganizationLevel.SCHOOL, None),
    "9": (OrganizationLevel.SCHOOL, "direct"),
    "10": (OrganizationLevel.SCHOOL, "local"),
}
_NAME_COLUMN: Final[dict[OrganizationLevel, str]] = {
    OrganizationLevel.STATE: "county name",  # so the file has it: "State Of California"
    OrganizationLevel.COUNTY: "county name",
    OrganizationLevel.DISTRICT: "district name",
    OrganizationLevel.SCHOOL: "school name",
}
_CODE_COLUMNS: Final = (("county code", 2), ("district code", 5), ("school code", 7))
_CHARTERS: Final = (None, "direct", "local")
_LONGEST_NAME: Final = 200  # as OrganizationEntry allows

# So many faults are spelled out: enough to see the pattern, few enough to read.
_FAULTS_SHOWN: Final = 20

_FORMS: Final = (
    "the state's entity file (County Code, District Code, School Code, Type ID, County Name, District Name, "
    "School Name), a warehouse hierarchy (district_id, district_name, school_id, school_name) "
    "or a plain file (cds, name, kind)"
)


class _FaultyLine(Exception):
    """What is wrong with one line; the reader adds which."""


_Line = Mapping[str, str]
_Reader = Callable[[_Line], Iterator[OrganizationEntry]]


def read_organizations(data: bytes, filename: str) -> list[OrganizationEntry]:
    """All organizations that a file lists, each once, in the order in which they first appear.

    Args:
        data: the file's bytes.
        filename: its name, for messages only.

    Raises:
        InvalidInput: the file is none of the known forms, or has faults; all are listed with their line numbers.
    """
    text = _text(data, filename)
    lines = _lines(text, filename)
    header = next(lines, None)
    if header is None:
        raise InvalidInput(f"{filename} is empty; expected {_FORMS}")
    read = _reader(set(header[1]), filename)
    entries: dict[str, tuple[int, OrganizationEntry]] = {}
    faults: list[str] = []
    for number, line in _named(lines, header[1], faults):
        try:
            for entry in read(line):
                _put(entries, number, entry)
        except (_FaultyLine, InvalidIdentifier) as fault:
            faults.append(f"line {number}: {fault}")
    if faults:
        raise InvalidInput(_report(filename, faults))
    if not entries:
        raise InvalidInput(f"{filename} has a header and no organizations below it")
    return [entry for _, entry in entries.values()]


def missing_parents(entries: Mapping[str, OrganizationEntry]) -> list[tuple[OrganizationId, int]]:
    """Districts that schools' codes name and the entries lack, by code, each with its number of schools."""
    schools: dict[OrganizationId, int] = {}
    for entry in entries.values():
        district = district_of(OrganizationId(entry.cds))
        if entry.kind == "school" and district not in entries:
            schools[district] = schools.get(district, 0) + 1
    return sorted(schools.items())


def _text(data: bytes, filename: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{filename} is not text: byte {error.start} is {data[error.start]:#04x}; expected UTF-8 or Windows-1252"
        ) from None


def _lines(text: str, filename: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields; blank lines and comments are left out."""
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if "^" in first:
        # Quotation marks mean themselves there: nothing in the state's "^" files is quoted.
        rows = csv.reader(io.StringIO(text, newline=""), delimiter="^", quoting=csv.QUOTE_NONE)
    else:
        rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in rows:
            fields = [field.strip() for field in row]
            if any(fields) and not fields[0].startswith("#"):
                yield rows.line_num, fields
    except csv.Error as error:
        raise InvalidInput(
            f"{filename}, line {rows.line_num}: {error}; is a quotation mark missing?"
        ) from None


def _named(
    lines: Iterator[tuple[int, list[str]]], header: list[str], faults: list[str]
) -> Iterator[tuple[int, _Line]]:
    """Fields by lower-case column name; a line with another number of fields is a fault."""
    columns = [name.lower() for name in header]
    for number, fields in lines:
        if len(fields) == len(columns):
            yield number, dict(zip(columns, fields, strict=True))
        else:
            faults.append(f"line {number}: {len(fields)} fields; the header has {len(columns)}")


def _reader(header: set[str], filename: str) -> _Reader:
    columns = {name.lower() for name in header}
    for reader, needed in (
        (_state_entity, {"county code", "district code", "school code", "type id", *_NAME_COLUMN.values()}),
        (_warehouse_school, {"district_id", "district_name", "school_id", "school_name"}),
        (_plain, {"cds", "name", "kind"}),
    ):
        if needed <= columns:
            return reader
    shown = ", ".join(sorted(header))[:200]
    raise InvalidInput(f"{filename} has the columns {shown}; expected {_FORMS}")


def _state_entity(line: _Line) -> Iterator[OrganizationEntry]:
    for column, digits in _CODE_COLUMNS:
        if len(line[column]) != digits or not line[column].isdecimal():
            raise _FaultyLine(
                f"{column.title()} is '{line[column][:40]}'; expected {digits} digits "
                "(leading zeros count; spreadsheets drop them)"
            )
    cds = organization_id("".join(line[column] for column, _ in _CODE_COLUMNS))
    kind, charter = _TYPES.get(line["type id"].lstrip("0"), (None, None))
    if kind is None:
        raise _FaultyLine(f"Type ID is '{line['type id'][:40]}'; expected {', '.join(_TYPES)}")
    yield _entry(cds, line[_NAME_COLUMN[kind]], kind, charter, _NAME_COLUMN[kind].title())


def _warehouse_school(line: _Line) -> Iterator[OrganizationEntry]:
    district, school = organization_id(line["district_id"]), organization_id(line["school_id"])
    if level_of(school) is OrganizationLevel.SCHOOL and district_of(school) != district:
        raise _FaultyLine(
            f"district_id is {district}, but school_id {school} names the district {district_of(school)}"
        )
    yield _entry(district, line["district_name"], OrganizationLevel.DISTRICT, None, "district_name")
    yield _entry(school, line["school_name"], OrganizationLevel.SCHOOL, None, "school_name")


def _plain(line: _Line) -> Iterator[OrganizationEntry]:
    charter = line.get("charter") or None
    if charter not in _CHARTERS:
        raise _FaultyLine(f"charter is '{charter}'; expected direct, local or nothing")
    kind = line["kind"].lower()
    if kind not in set(OrganizationLevel):
        raise _FaultyLine(f"kind is '{line['kind'][:40]}'; expected {', '.join(OrganizationLevel)}")
    yield _entry(organization_id(line["cds"]), line["name"], OrganizationLevel(kind), charter, "name")


def _entry(
    cds: OrganizationId, name: str, kind: OrganizationLevel, charter: str | None, column: str
) -> OrganizationEntry:
    if is_canary(cds):
        # Everything there counts as a canary's: a real school would have its results refused, and be seen by nobody.
        raise _FaultyLine(
            f"{cds} is in county {CANARY_COUNTY[:2]}, which is kept for the canary, and that lists its own schools; leave "
            "the line out, or give the organization a code of its own county"
        )
    if level_of(cds) is not kind:
        raise _FaultyLine(f"{cds} is the code of a {level_of(cds)}, but the line describes a {kind}")
    if not 0 < len(name) <= _LONGEST_NAME:
        raise _FaultyLine(f"{column} of {cds} has {len(name)} characters; expected 1 to {_LONGEST_NAME}")
    return OrganizationEntry(
        cds=cds,
        name=name,
        kind=kind.value,
        charter="direct" if charter == "direct" else "local" if charter == "local" else None,
    )


def _put(entries: dict[str, tuple[int, OrganizationEntry]], number: int, entry: OrganizationEntry) -> None:
    first, known = entries.setdefault(entry.cds, (number, entry))
    if known != entry:
        raise _FaultyLine(f"{entry.cds} is '{entry.name}' here and '{known.name}' in line {first}")


def _report(filename: str, faults: list[str]) -> str:
    shown = "\n".join(f"  {fault}" for fault in faults[:_FAULTS_SHOWN])
    more = f"\n  and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
    number = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    return f"{filename} has {number}; nothing was read:\n{shown}{more}"

"""Release states as people write them: a line of CSV, the parts of an address; every fault is named, with its line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, TypeVar

from msgspec import Struct

from gateway.spreadsheets import csv_text
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId, OrganizationLevel, level_of, organization_id
from schemas.organization_list import OrganizationList
from schemas.releases import SUBJECTS, ReleaseKey, ReleaseState, Report, state_named

COLUMNS: Final = ("school_year", "district", "subject", "report", "state")
_EXPORTED: Final = ("school_year", "district", "district_name", "subject", "report", "state")
_YEARS: Final = range(2000, 2200)  # as the event's schema has it
_SHOWN: Final = 40  # characters of a faulty value

T = TypeVar("T")


class Wanted(NamedTuple):
    """A state that somebody wants, and the line of the file that says so; 0 where there is no file."""

    key: ReleaseKey
    state: ReleaseState
    line: int = 0


class Fault(Struct, frozen=True):
    """What is wrong in one line."""

    line: int
    field: str
    value: str
    error: str


class FaultyFile(InvalidInput):
    """The file cannot be taken; nothing of it was.

    Attributes:
        faults: all of them.
    """

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(
            f"the file has {len(faults)} {'fault' if len(faults) == 1 else 'faults'}, the first in line {faults[0].line}: "
            f"{faults[0].error}; nothing was changed"
        )
        self.faults = faults


def school_year(text: str) -> int:
    """The year in which a school year ends.

    Raises:
        InvalidInput: it is not one.
    """
    stripped = text.strip()
    if stripped.isdecimal() and len(stripped) == 4 and int(stripped) in _YEARS:
        return int(stripped)
    raise InvalidInput(
        f"'{text[:_SHOWN]}' is not a school year; expected the year in which it ends, such as 2026"
    )


def district_code(text: str) -> OrganizationId:
    """A district's CDS code.

    Raises:
        InvalidInput: it is not one.
    """
    organization = organization_id(text)
    if level_of(organization) is not OrganizationLevel.DISTRICT:
        raise InvalidInput(
            f"'{organization}' is a {level_of(organization)}; release states are districts' (a district's code ends with "
            "seven zeros)"
        )
    return organization


def subject_named(text: str) -> str:
    """A subject, in any case.

    Raises:
        InvalidInput: there is none of that name.
    """
    return _one_of(text, {subject.lower(): subject for subject in SUBJECTS}, "a subject")


def report_named(text: str) -> Report:
    """``individual`` or ``aggregate``.

    Raises:
        InvalidInput: it is neither.
    """
    return _one_of(text, {report.value: report for report in Report}, "a report")


def release_state(text: str) -> ReleaseState:
    """``loading``, ``reviewing`` or ``released``.

    Raises:
        InvalidInput: it is none of them.
    """
    return state_named(_one_of(text, {state.word: state.word for state in ReleaseState}, "a release state"))


def read_csv(data: bytes) -> list[Wanted]:
    """What a file wants; columns by their header, in any order, others are passed over.

    Raises:
        FaultyFile: with every fault of every line.
    """
    try:
        text = data.decode("utf-8-sig")  # spreadsheets write the mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise FaultyFile(
            [Fault(line, "", "", f"the line is not UTF-8 (byte {error.start} of the file); save it as UTF-8")]
        ) from None
    rows = _rows(text)
    header = next(rows, (1, []))[1]
    columns = {name.strip().lower(): number for number, name in enumerate(header)}
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise FaultyFile(
            [
                Fault(
                    1,
                    "",
                    ",".join(header)[:_SHOWN],
                    f"the header lacks {', '.join(missing)}; expected {','.join(COLUMNS)}",
                )
            ]
        )
    faults: list[Fault] = []
    wanted: dict[ReleaseKey, Wanted] = {}
    for line, row in rows:
        found = _wanted(
            line, [row[columns[name]] if columns[name] < len(row) else "" for name in COLUMNS], faults
        )
        if found is None:
            continue
        earlier = wanted.setdefault(found.key, found)
        if earlier.line != line:
            faults.append(
                Fault(
                    line,
                    "",
                    found.key.path,
                    f"line {earlier.line} says already what {found.key.path} shall be",
                )
            )
    if not wanted and not faults:
        faults.append(Fault(1, "", "", "there is no line below the header"))
    if faults:
        raise FaultyFile(faults)
    return list(wanted.values())


def write_csv(states: Iterable[tuple[ReleaseKey, ReleaseState]], known: OrganizationList) -> str:
    """A file that ``read_csv`` reads, with the districts' names."""
    return csv_text(
        _EXPORTED,
        (
            (
                key.school_year,
                key.district,
                known.summary(key.district).name,
                key.subject,
                key.report,
                state.word,
            )
            for key, state in states
        ),
    )


def _wanted(line: int, texts: list[str], faults: list[Fault]) -> Wanted | None:
    def value(number: int, read: Callable[[str], T]) -> T | None:
        try:
            return read(texts[number])
        except InvalidInput as error:
            faults.append(Fault(line, COLUMNS[number], texts[number][:_SHOWN], str(error)))
            return None

    year, district = value(0, school_year), value(1, district_code)
    subject, report = value(2, subject_named), value(3, report_named)
    state = value(4, release_state)
    if year is None or district is None or subject is None or report is None or state is None:
        return None  # it is among the faults
    return Wanted(ReleaseKey(year, district, subject, report), state, line)


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FaultyFile([Fault(line, "", "", f"the line is not CSV: {error}")]) from None
        if any(field.strip() for field in row):
            yield line, row


def _one_of(text: str, named: dict[str, T], what: str) -> T:
    try:
        return named[text.strip().lower()]
    except KeyError:
        raise InvalidInput(
            f"'{text[:_SHOWN]}' is not {what}; expected one of {', '.join(map(str, named.values()))}"
        ) from None

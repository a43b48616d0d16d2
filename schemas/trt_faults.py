"""Collects what is wrong with an exam report, so that all of it is told at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from schemas.errors import InvalidInput
from schemas.imports import FieldError, ImportStatus

_Value = TypeVar("_Value")

_GRAVEST_FIRST: Final = (
    ImportStatus.BAD_FORMAT,
    ImportStatus.INVALID,
    ImportStatus.UNKNOWN_ASMT,
    ImportStatus.BAD_DATA,
)
_SHOWN: Final = 80  # characters of a faulty value that are repeated to the sender


class TrtRefused(InvalidInput):
    """A report that cannot be used.

    Attributes:
        status: the gravest of the faults.
        errors: all of them. Student identifiers are never repeated.
    """

    def __init__(self, status: ImportStatus, errors: tuple[FieldError, ...]) -> None:
        faults = "; ".join(f"{error.element}: {error.error}" for error in errors)
        super().__init__(f"{status.name}: {faults}")
        self.status = status
        self.errors = errors


class Faults:
    """The faults and warnings of one report, in the order in which they were found."""

    def __init__(self) -> None:
        self._found: list[tuple[ImportStatus, FieldError]] = []
        self._warnings: list[FieldError] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, element: str, value: str, error: str, status: ImportStatus = ImportStatus.BAD_DATA) -> None:
        """Note a fault: the report cannot be used as it is."""
        self._found.append((status, FieldError(element, value[:_SHOWN], error)))

    def warn(self, element: str, value: str, remark: str) -> None:
        """Note something odd that does not keep the report from being used."""
        self._warnings.append(FieldError(element, value[:_SHOWN], remark))

    def take(self, element: str, text: str, parse: Callable[[str], _Value]) -> _Value | None:
        """What ``parse`` makes of a text; None, and a fault, when it can make nothing of it."""
        try:
            return parse(text)
        except InvalidInput as error:
            self.add(element, text, str(error))
            return None

    def refusal(self) -> TrtRefused:
        """The faults as an error, under the status of the gravest."""
        statuses = {status for status, _ in self._found}
        gravest = next(status for status in _GRAVEST_FIRST if status in statuses)
        return TrtRefused(gravest, tuple(error for _, error in self._found))

    def warnings(self) -> tuple[FieldError, ...]:
        """The warnings."""
        return tuple(self._warnings)

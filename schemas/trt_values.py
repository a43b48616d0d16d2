"""Single values of an exam report: what a text means, or a sentence on what would be right.

The functions raise ``InvalidInput`` with that sentence. It never repeats the value: whoever reports it decides whether
the value may be shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, TypeVar

from schemas.errors import InvalidInput
from schemas.identifiers import Grade, grade_from

_Choice = TypeVar("_Choice")

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d{1,7}(?:\.\d{1,25})?(?:E[+-]?\d)?", re.ASCII | re.IGNORECASE)
_WHOLE: Final = Decimal(1)
_FLAGS: Final = {
    **dict.fromkeys(("yes", "y", "true", "t", "1"), True),
    **dict.fromkeys(("no", "n", "false", "f", "0"), False),
}
# Grade codes of the education data standards that are no grade from KG to 12.
_OTHER_GRADES: Final = frozenset({"IT", "PR", "PK", "13", "PS", "UG", "AE", "ABE", "OTHER"})


def moment(text: str) -> datetime:
    """A point in time, in UTC; without a zone it is UTC already.

    The year must be from 2000 to 2199: systems write 0001-01-01 for "never", and that must not become a version.
    """
    if _MOMENT.fullmatch(text):
        try:
            parsed = datetime.fromisoformat(text)
            utc = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except (ValueError, OverflowError):
            pass  # February 30, or out of the calendar
        else:
            if 2000 <= utc.year < 2200:
                return utc
    raise InvalidInput(
        "not a date and time of this century; expected e.g. 2026-04-28T13:05:00 (UTC) or with -07:00"
    )


def scale_score(text: str) -> int | None:
    """Whole scale points, rounded half up. None when there is no score: blank, NS or 0."""
    if text.isascii() and text.isdigit() and len(text) <= 7:
        return int(text) or None
    if not text or text.upper() == "NS":
        return None
    if not _NUMBER.fullmatch(text):
        raise InvalidInput("not a number; expected a scale score, or NS or nothing when there is none")
    number = Decimal(text)
    if number < 0:
        raise InvalidInput("a scale score is not negative; expected NS or nothing when there is none")
    return int(number.quantize(_WHOLE, ROUND_HALF_UP)) if number else None


def score_error(text: str) -> str | None:
    """A standard error as it stands, when it is a number."""
    return text if text and _NUMBER.fullmatch(text) else None


def level(text: str, highest: int) -> int | None:
    """A performance level from 1 to ``highest``; None when there is none: blank or NS."""
    if not text or text.upper() == "NS":
        return None
    if len(text) == 1 and text.isascii() and text.isdigit() and 1 <= int(text) <= highest:
        return int(text)
    raise InvalidInput(f"not a level of this test; expected 1 to {highest}, or nothing when there is none")


def flag(text: str | None) -> bool | None:
    """Yes or no in any spelling; None when it is neither, as in ``Unknown/Cannot Provide``."""
    return None if text is None else _FLAGS.get(text.strip().lower())


def choice(text: str, choices: Mapping[str, _Choice]) -> _Choice:
    """One of the choices, which are keyed in lower case."""
    found = choices.get(text.lower())
    if found is None:
        raise InvalidInput(f"not known; expected one of {', '.join(map(str, choices.values()))}")
    return found


def enrolled_grade(text: str) -> Grade | None:
    """The grade a student is enrolled in; None for ungraded, adult and other codes outside KG to 12."""
    if text.upper() in _OTHER_GRADES:
        return None
    try:
        return grade_from(text)
    except InvalidInput:
        raise InvalidInput("not a grade; expected KG or 01 to 12") from None

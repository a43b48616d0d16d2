"""Names of roles and groups, as tokens and files write them."""

from __future__ import annotations

from typing import Final

from schemas.errors import InvalidInput

_LONGEST_NAME: Final = 200  # characters


def plain_name(text: str, what: str) -> str:
    """The name of a role or group, as it is written.

    Raises:
        InvalidInput: it is empty, too long, or has characters that nobody sees.
    """
    if not text or len(text) > _LONGEST_NAME or not text.isprintable():
        raise InvalidInput(
            f"{text[:40]!r} is not a {what}; expected 1 to {_LONGEST_NAME} printable characters"
        )
    return text

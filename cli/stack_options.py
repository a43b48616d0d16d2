"""What ``--kafka`` and ``--redis`` may say."""

from __future__ import annotations

import re

from schemas.errors import InvalidInput

EMBEDDED = "embedded"
LOCAL = "local"


def kafka_option(text: str) -> str:
    """``embedded``, ``local`` or ``host:port[,host:port]``.

    Raises:
        InvalidInput: it is none of them.
    """
    if text in {EMBEDDED, LOCAL} or re.fullmatch(r"[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*", text):
        return text
    raise InvalidInput(f"--kafka is '{text}'; expected embedded, local or HOST:PORT")


def redis_option(text: str) -> str:
    """``embedded`` or a Redis URL.

    Raises:
        InvalidInput: it is neither.
    """
    if text == EMBEDDED or re.fullmatch(r"(rediss?|unix)://\S+", text):
        return text
    raise InvalidInput(f"--redis is '{text}'; expected embedded or redis://HOST:PORT/DB")

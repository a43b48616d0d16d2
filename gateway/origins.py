"""Pages of other origins that may use this API: an explicit list. What a request calls its origin is never repeated to it.

They carry a token in a header, or a ticket; never the cookie, for credentials are not allowed across origins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from schemas.environment import Environment

_ORIGIN: Final = re.compile(r"https://[a-z0-9.-]+(:\d{1,5})?|http://(127\.0\.0\.1|localhost)(:\d{1,5})?")
_PREFLIGHT_SECONDS: Final = 600


def read_origins(env: Environment) -> tuple[str, ...]:
    """The origins of the setting; faults are reported by ``env.check``."""
    named = env.text("SCORES_ALLOWED_ORIGINS", "-")
    if named == "-":
        return ()
    origins = tuple(one.strip() for one in named.split(","))
    wrong = [one for one in origins if not _ORIGIN.fullmatch(one)]
    if wrong:
        env.refuse(
            f"SCORES_ALLOWED_ORIGINS has '{wrong[0][:200]}'; expected origins such as https://dashboard.example, "
            "several separated by commas; there is no wildcard"
        )
        return ()
    return origins


def cross_origin(origins: Sequence[str]) -> list[Middleware]:
    """The layer that lets these origins in; none when the list is empty."""
    if not origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            expose_headers=["Retry-After"],
            allow_credentials=False,
            max_age=_PREFLIGHT_SECONDS,
        )
    ]

"""From errors to answers: one function, problem+json (RFC 9457), and no more said than the caller may know."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import msgspec
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway.tokens import TokenRefused
from schemas.access.permissions import Forbidden
from schemas.errors import DependencyUnavailable, InvalidInput

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
RETRY_AFTER_SECONDS: Final = 5


def problem_response(error: Exception) -> Response:
    """The answer to a request that ended with ``error``."""
    match error:
        case TokenRefused():
            challenge = "Bearer" if error.reason == "missing" else 'Bearer error="invalid_token"'
            return problem(HTTPStatus.UNAUTHORIZED, str(error), {"WWW-Authenticate": challenge})
        case Forbidden():
            return problem(HTTPStatus.FORBIDDEN, str(error))
        case InvalidInput():
            return problem(HTTPStatus.BAD_REQUEST, sentence(str(error)))
        case DependencyUnavailable() | RedisError() | OSError():
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"The figures cannot be read just now; ask again in {RETRY_AFTER_SECONDS} s.",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        case HTTPException():
            return problem(HTTPStatus(error.status_code), _detail(error), error.headers)
        case _:
            logger.error("request failed", exc_info=error)
            return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "This is our fault, and it has been logged.")


def problem(
    status: HTTPStatus,
    detail: str,
    headers: Mapping[str, str] | None = None,
    *,
    more: Mapping[str, object] | None = None,
) -> Response:
    """One problem+json answer; ``more`` are members beyond the usual ones."""
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        **(more or {}),
    }
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def _detail(error: HTTPException) -> str:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return "There is nothing at this address; /openapi.json lists what there is."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return "This address does not take that method; /openapi.json lists what it takes."
    return sentence(error.detail)


def sentence(text: str) -> str:
    """An error's text, begun and ended as a sentence."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")

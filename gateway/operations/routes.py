"""``/v1/operations``: how the service is doing, to whoever may know that for the whole state.

What is told is of the service and of no school; that of a hidden cell nothing shows follows from there being only sums over all
results. Nothing is asked of Kafka here: the monitor has judged, and Redis keeps what it said.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.operations.answers import HistoryAnswer, operations_answer
from gateway.operations.condensing import Condensing
from gateway.operations.openapi import HISTORY_PATH, LONGEST_HOURS, OPERATIONS_PATH
from gateway.private_answers import private_json
from gateway.redis_connection import RedisClient
from gateway.service import gateway_of
from schemas.access.permissions import Forbidden, Permission
from schemas.errors import InvalidInput, ScoreStreamError
from schemas.identifiers import STATE
from schemas.operations import (
    HISTORY,
    HISTORY_FIELD,
    SAMPLE_SECONDS,
    Judgement,
    Sample,
    decode_judgement,
    decode_sample,
)
from schemas.operations import STATE as JUDGED

_POINTS: Final = 360  # more than a chart has room for; an hour of samples one by one
_READ_AT_ONCE: Final = 200  # samples; the streams of this gateway go on in between


class OperatorsOnly(Forbidden):
    """Says which permission is missing: it is about no organization whose existence that could tell."""

    def __init__(self) -> None:
        ScoreStreamError.__init__(
            self,
            f"Seeing how the service is doing takes {Permission.OPERATIONS_READ} at the state; this token lacks it.",
        )


def operations_routes(redis: RedisClient, runbooks: str = "") -> list[Route]:
    """The routes, for the application to mount; ``runbooks`` is where the operators' handbook is to be read."""
    endpoint = _Endpoint(redis, runbooks)
    return [
        Route(OPERATIONS_PATH, endpoint.now, methods=["GET"]),
        Route(HISTORY_PATH, endpoint.history, methods=["GET"]),
    ]


class _Endpoint:
    def __init__(self, redis: RedisClient, runbooks: str) -> None:
        self._redis = redis
        self._runbooks = runbooks

    async def now(self, request: Request) -> Response:
        """The latest judgement, whoever made it, with its age."""
        _only_for_operators(request)
        stored: Any = await self._redis.get(JUDGED)
        return private_json(operations_answer(_read(stored), _now_ms(), self._runbooks))

    async def history(self, request: Request) -> Response:
        """The last hours, up to six."""
        _only_for_operators(request)
        hours = _hours(request.query_params.get("hours", "1"))
        step_seconds = max(SAMPLE_SECONDS, hours * 3_600 // _POINTS)
        steps = hours * 3_600 // step_seconds
        # Steps begin at round times, so that a chart that is drawn again does not tremble.
        end_ms = (_now_ms() // (step_seconds * 1000) + 1) * step_seconds * 1000
        condensing = Condensing(end_ms - steps * step_seconds * 1000, step_seconds * 1000, steps)
        first = str(condensing.at[0])
        while True:
            entries: Any = await self._redis.xrange(HISTORY, min=first, count=_READ_AT_ONCE)
            condensing.take(sample for _, fields in entries if (sample := _sample(fields)) is not None)
            if len(entries) < _READ_AT_ONCE:
                break
            first = "(" + entries[-1][0].decode()
        answer = HistoryAnswer(
            hours=hours, step_seconds=step_seconds, at=condensing.at, series=dict(condensing)
        )
        return private_json(answer)


def _only_for_operators(request: Request) -> None:
    principal = gateway_of(request).credentials.by_header_or_cookie(request)
    if not principal.rights.covers(Permission.OPERATIONS_READ, STATE):
        raise OperatorsOnly


def _hours(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= LONGEST_HOURS):
        raise InvalidInput(
            f"hours is '{text[:40]}'; expected a whole number from 1 to {LONGEST_HOURS}, for no more is kept"
        )
    return int(text)


def _read(stored: bytes | None) -> Judgement | None:
    """What another version has written in a form of its own says as little as nothing."""
    try:
        return None if stored is None else decode_judgement(stored)
    except msgspec.MsgspecError:
        return None


def _sample(fields: dict[bytes, bytes]) -> Sample | None:
    try:
        return decode_sample(fields.get(HISTORY_FIELD, b""))
    except msgspec.MsgspecError:
        return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

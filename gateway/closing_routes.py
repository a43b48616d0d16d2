"""``/v1/closings``: which tests of which year are closed, and closing or reopening one.

Guarantee: *nothing that is not in the audit.* The entry is on disk before the record is produced. When Kafka's acknowledgement
does not come, the record may have arrived all the same; giving the order again is harmless.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.closing_answers import (
    AcceptedClosing,
    ClosedTime,
    ClosingOrder,
    ClosingsAnswer,
    ListedClosing,
)
from gateway.closing_openapi import CLOSINGS_PATH
from gateway.private_answers import private_json
from gateway.problems import RETRY_AFTER_SECONDS, problem
from gateway.redis_connection import RedisClient
from gateway.releases.wanted import school_year
from gateway.request_bodies import read_order
from gateway.service import gateway_of
from gateway.tokens import Principal
from schemas.access.permissions import Forbidden, Permission
from schemas.assessments import Registry
from schemas.audit import AuditKind
from schemas.closings import LEAD_MS, ClosedTest, closable, decode_closings
from schemas.errors import DependencyUnavailable, InvalidInput, ScoreStreamError
from schemas.events import CLOSING_TYPE, ClosingEntry, cloud_event_headers, encode_event
from schemas.figures import rfc3339
from schemas.identifiers import STATE
from schemas.keys import CLOSINGS as STORED
from schemas.process.outgoing import EventPublisher, OutgoingRecord
from schemas.topics import CLOSINGS

_LARGEST_BODY: Final = 1_024
_LONGEST_NAME: Final = 100


class ReviewersOnly(Forbidden):
    """Says which permission is missing: no organization is named here whose existence that could tell."""

    def __init__(self) -> None:
        ScoreStreamError.__init__(
            self,
            f"Closing a test takes {Permission.TEST_DATA_REVIEWING_WRITE} at the state; this token lacks it.",
        )


_ORDER: Final = msgspec.json.Decoder(ClosingOrder)


def closing_routes(redis: RedisClient, publisher: EventPublisher, registry: Registry) -> list[Route]:
    """The routes, for the application to mount."""
    endpoint = _Endpoint(redis, publisher, registry)
    return [
        Route(CLOSINGS_PATH, endpoint.show, methods=["GET"]),
        Route(CLOSINGS_PATH + "/{year}/{test}", endpoint.change, methods=["PUT"]),
    ]


class _Endpoint:
    def __init__(self, redis: RedisClient, publisher: EventPublisher, registry: Registry) -> None:
        self._redis = redis
        self._publisher = publisher
        self._registry = registry

    async def show(self, request: Request) -> Response:
        """To whoever has a token: it tells of tests, and of nobody's results."""
        gateway_of(request).credentials.by_header_or_cookie(request)
        stored: Any = await self._redis.get(STORED)
        if stored is None:
            raise DependencyUnavailable("no worker has read the closings from the log yet")
        listed = tuple(
            ListedClosing(
                one.school_year,
                one.test,
                tuple(
                    ClosedTime(rfc3339(start), None if end is None else rfc3339(end))
                    for start, end in one.closed
                ),
            )
            for one in sorted(decode_closings(stored), key=lambda one: (-one.school_year, one.test))
        )
        return private_json(ClosingsAnswer(listed))

    async def change(self, request: Request) -> Response:
        """Statewide: a test is closed for all districts, or for none."""
        principal = gateway_of(request).credentials.by_header_only(request)
        if not principal.rights.covers(Permission.TEST_DATA_REVIEWING_WRITE, STATE):
            raise ReviewersOnly
        order = await read_order(request, _ORDER, most_bytes=_LARGEST_BODY, example='{"change": "closed"}')
        about = closable(
            school_year(request.path_params["year"]), request.path_params["test"], self._registry
        )
        now = datetime.now(UTC)
        if order.at is not None and order.at < now:
            raise InvalidInput(
                f"at is {order.at.isoformat()}, which is over; what was applied since then would stay"
            )
        await self._note(request, principal, about, order)
        record = _record(about, order, principal, now)
        try:
            await self._publisher.publish([record])
        except DependencyUnavailable:
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"Kafka did not confirm the change; give the order again in {RETRY_AFTER_SECONDS} s. Had it got through after "
                "all, it is repeated without harm.",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        accepted = AcceptedClosing(
            about.school_year,
            about.test,
            order.change,
            None if order.at is None else order.at.astimezone(UTC).isoformat(),
            LEAD_MS // 1000,
        )
        return private_json(accepted, HTTPStatus.ACCEPTED)

    async def _note(
        self, request: Request, principal: Principal, about: ClosedTest, order: ClosingOrder
    ) -> None:
        gateway = gateway_of(request)
        gateway.notes.read(
            request,
            principal,
            AuditKind.YEAR_CLOSED if order.change == "closed" else AuditKind.YEAR_REOPENED,
            organizations=(f"state/{STATE}",),
            years=(about.school_year,),
            tests=(about.test,),
            rule=Permission.TEST_DATA_REVIEWING_WRITE.value,
            detail="" if order.at is None else f"at {order.at.isoformat()}",
        )
        await gateway.audit.written()


def _record(about: ClosedTest, order: ClosingOrder, principal: Principal, now: datetime) -> OutgoingRecord:
    entry = ClosingEntry(
        school_year=about.school_year,
        test=about.test,
        change=order.change,
        at=order.at,
        by=principal.subject[:_LONGEST_NAME],
    )
    headers = cloud_event_headers(CLOSING_TYPE, uuid4().hex, CLOSINGS_PATH, now)
    return OutgoingRecord(CLOSINGS, str(about).encode(), encode_event(entry), tuple(headers))

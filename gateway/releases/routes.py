"""``/v1/releases``: what states there are, changed one by one, or many from a file."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.connections import counted_address
from gateway.following import TablesAway
from gateway.private_answers import PRIVATE, private_json
from gateway.problems import RETRY_AFTER_SECONDS, problem, sentence
from gateway.release_rules import may_know
from gateway.releases.answers import (
    ChangedState,
    ChangesAnswer,
    ListedDistrict,
    ListedState,
    ReleaseOrder,
    ReleasesAnswer,
)
from gateway.releases.changing import (
    RELEASES_PATH,
    Outcome,
    Refused,
    RefusedLines,
    ReleaseChanges,
)
from gateway.releases.wanted import (
    Fault,
    FaultyFile,
    Wanted,
    district_code,
    read_csv,
    release_state,
    report_named,
    school_year,
    subject_named,
    write_csv,
)
from gateway.request_bodies import read_body, read_order
from gateway.service import gateway_of
from gateway.tokens import Principal
from schemas.access.permissions import Forbidden
from schemas.errors import DependencyUnavailable
from schemas.figures import rfc3339
from schemas.identifiers import STATE, OrganizationId, OrganizationLevel
from schemas.organization_list import OrganizationList
from schemas.releases import ReleaseKey, Releases, ReleaseState

logger = logging.getLogger(__name__)

_LARGEST_FILE: Final = 4 * 1024 * 1024  # all districts, subjects and reports of a year are 1 MB
_LARGEST_ORDER: Final = 1_024
_FAULTS_SHOWN: Final = 1_000
_NOT_APPLIED_YET: Final = (
    "Accepted, and safe in Kafka; not applied yet. It takes effect as soon as a stream worker runs."
)


_ORDER: Final = msgspec.json.Decoder(ReleaseOrder)


def release_routes(changes: ReleaseChanges) -> list[Route]:
    """The routes, for the application to mount."""
    endpoint = _Endpoint(changes)
    return [
        Route(RELEASES_PATH, _answering(endpoint.show), methods=["GET"]),
        Route(RELEASES_PATH + ".csv", _answering(endpoint.export), methods=["GET"]),
        Route(RELEASES_PATH + "/import", _answering(endpoint.import_file), methods=["POST"]),
        Route(
            RELEASES_PATH + "/{year}/{district}/{subject}/{report}",
            _answering(endpoint.change),
            methods=["PUT"],
        ),
    ]


class _Endpoint:
    def __init__(self, changes: ReleaseChanges) -> None:
        self._changes = changes

    async def show(self, request: Request) -> Response:
        principal = gateway_of(request).credentials.by_header_or_cookie(request)
        releases, known, districts, shown = await self._shown(request, principal)
        return private_json(
            ReleasesAnswer(
                version=str(releases.version),
                changed=rfc3339(releases.changed_ms) if releases.changed_ms else None,
                unlisted=releases.unlisted.word,
                districts=tuple(ListedDistrict(one, known.summary(one).name) for one in districts),
                releases=tuple(
                    ListedState(key.school_year, key.district, key.subject, key.report.value, state.word)
                    for key, state in shown
                ),
            )
        )

    async def export(self, request: Request) -> Response:
        principal = gateway_of(request).credentials.by_header_or_cookie(request)
        _, known, _, shown = await self._shown(request, principal)
        return Response(
            write_csv(shown, known),
            media_type="text/csv; charset=utf-8",
            headers={**PRIVATE, "Content-Disposition": 'inline; filename="releases.csv"'},
        )

    async def change(self, request: Request) -> Response:
        principal = gateway_of(request).credentials.by_header_only(request)
        parts = request.path_params
        key = ReleaseKey(
            school_year(parts["year"]),
            district_code(parts["district"]),
            subject_named(parts["subject"]),
            report_named(parts["report"]),
        )
        order = await read_order(request, _ORDER, most_bytes=_LARGEST_ORDER, example='{"state": "released"}')
        outcome = await self._order(request, principal, [Wanted(key, release_state(order.state))])
        return _done(outcome, 1)

    async def import_file(self, request: Request) -> Response:
        principal = gateway_of(request).credentials.by_header_only(request)
        data = await read_body(request, most_bytes=_LARGEST_FILE, kind="text/csv")
        wanted = await asyncio.to_thread(read_csv, data)
        return _done(await self._order(request, principal, wanted), len(wanted))

    async def _order(self, request: Request, principal: Principal, wanted: Sequence[Wanted]) -> Outcome:
        gateway = gateway_of(request)
        return await self._changes.change(
            wanted,
            principal,
            gateway.hub.directory,
            gateway.audit,
            address=counted_address(request.client.host if request.client else None),
        )

    async def _shown(
        self, request: Request, principal: Principal
    ) -> tuple[Releases, OrganizationList, list[OrganizationId], list[tuple[ReleaseKey, ReleaseState]]]:
        """All states, the directory, the districts that are asked for and open, and the stored states of these."""
        query = request.query_params
        years = {school_year(text) for text in query.getlist("year")}
        asked = {district_code(text) for text in query.getlist("district")}
        subjects = {subject_named(text) for text in query.getlist("subject")}
        reports = {report_named(text) for text in query.getlist("report")}
        known = gateway_of(request).hub.directory
        open_ = [
            district
            for district in known.below(STATE, OrganizationLevel.DISTRICT)
            if may_know(principal.rights, district)
        ]
        if not asked <= set(open_):
            raise Forbidden
        districts = [district for district in open_ if district in asked] if asked else open_
        releases = await self._changes.states()
        among = set(districts)
        shown = [
            (key, state)
            for key, state in releases
            if key.district in among
            and (not years or key.school_year in years)
            and (not subjects or key.subject in subjects)
            and (not reports or key.report in reports)
        ]
        return releases, known, districts, shown


def _answering(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """The handler, with what only release states raise turned into answers; the rest is answered as everywhere."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as error:
            return problem(HTTPStatus.FORBIDDEN, str(error))
        except RefusedLines as error:
            return problem(HTTPStatus.FORBIDDEN, str(error), more=_listed(error.faults))
        except FaultyFile as error:
            return problem(HTTPStatus.BAD_REQUEST, sentence(str(error)), more=_listed(error.faults))
        except TablesAway:
            raise
        except DependencyUnavailable as error:
            logger.warning("release states not available: %s", error)
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"Release states cannot be read or changed safely just now; ask again in {RETRY_AFTER_SECONDS} s. A change "
                "that got through after all is repeated without harm.",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )

    return answer


def _done(outcome: Outcome, asked: int) -> Response:
    answer = ChangesAnswer(
        changed=tuple(
            ChangedState(
                key.school_year, key.district, key.subject, key.report.value, before.word, after.word
            )
            for key, before, after in outcome.changes
        ),
        unchanged=asked - len(outcome.changes),
        applied=outcome.applied,
        detail="" if outcome.applied else _NOT_APPLIED_YET,
    )
    return private_json(answer, HTTPStatus.OK if outcome.applied else HTTPStatus.ACCEPTED)


def _listed(faults: Sequence[Fault]) -> dict[str, Any]:
    return {"errors": faults[:_FAULTS_SHOWN]}

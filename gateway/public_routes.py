"""The public view: what is released and may be seen by everybody, without a token; the published tables and nothing else.

It never says more than the state's own public files would, and never shows one group of students less than the minimum:
the figures are those of the masked class, as any stream shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.caching import is_known, kept_headers, kept_response, weak_tag
from gateway.images import CellImage, View, whole_fragment
from gateway.public_settings import PublicSettings
from gateway.research_export import FileResponse, FileSlots, ResearchFile
from gateway.research_file import test_of
from gateway.routes import wants_csv
from gateway.service import Gateway, gateway_of
from gateway.spreadsheets import csv_text
from gateway.topics import parse_filter
from schemas.access.permissions import VisibilityClass
from schemas.assessments import AssessmentLookup
from schemas.errors import InvalidInput
from schemas.figures import FIGURES_HEADER, Figures, figures_row
from schemas.identifiers import STATE, OrganizationId, is_canary, organization_id
from schemas.organization_list import OrganizationList, OrganizationSummary

_CSV: Final = "text/csv; charset=utf-8"
_JSON: Final = "application/json"
_YEARS: Final = range(2000, 2200)

_decode_figures: Final = msgspec.json.Decoder(Figures).decode


class PublicView:
    """The routes of the public view."""

    def __init__(self, settings: PublicSettings, assessments: AssessmentLookup) -> None:
        self._seconds = settings.publish_seconds
        self._assessments = assessments
        self._slots = FileSlots()

    def routes(self) -> list[Route]:
        """The routes of this module; none needs a token, none looks at one."""
        return [
            Route("/public/v1/organizations", self.organizations, methods=["GET"]),
            Route("/public/v1/aggregates/{organization}", self.aggregates, methods=["GET"]),
            Route("/public/v1/research-file", self.research_file, methods=["GET"]),
        ]

    async def organizations(self, request: Request) -> Response:
        """The directory, all of it or what is under one organization; it is public, and so says nothing of results."""
        known = gateway_of(request).hub.directory
        under = request.query_params.get("under")
        top = STATE if under is None else _existing(known, under)
        found = [known.summary(organization) for organization in known.under(top)]
        content = msgspec.json.encode({"organizations": found})
        return kept_response(request, content, _JSON, modified_ms=_listed_ms(known), seconds=self._seconds)

    async def aggregates(self, request: Request) -> Response:
        """All published cells of one organization."""
        gateway = gateway_of(request)
        known = gateway.hub.directory
        query = request.query_params
        as_csv = wants_csv(query.get("format"), request.headers.get("accept", ""))
        wanted = parse_filter(
            years=query.getlist("year") or None,
            tests=query.getlist("test") or None,
            grades=query.getlist("grade") or None,
        )
        organization = _existing(known, request.path_params["organization"])
        [snapshot] = await gateway.hub.snapshots([View(organization, VisibilityClass.MASKED)])
        shown = snapshot.shown(wanted)
        summary = snapshot.organization
        return kept_response(
            request,
            figures_csv(summary, shown) if as_csv else figures_json(summary, shown),
            _CSV if as_csv else _JSON,
            modified_ms=max(_decided_ms(gateway, known), *(image.changed_ms for image in shown), 0),
            seconds=self._seconds,
            more={"Vary": "Accept"},
        )

    async def research_file(self, request: Request) -> Response:
        """Everything that is published of one test and year, as the state's research files have it."""
        gateway = gateway_of(request)
        known = gateway.hub.directory
        year, test = _year(request), test_of(request.query_params.get("test", ""))
        file = ResearchFile.of(year, test, self._assessments, known, gateway.hub.visibility)
        # Read before the file is, which may be of later figures; then the next question finds another tag.
        published_ms = await gateway.tables.published_changed_ms()
        tag = weak_tag(published_ms, gateway.hub.releases.version, known.version, year, test)
        modified_ms = max(published_ms, _decided_ms(gateway, known))
        headers = kept_headers(tag, modified_ms, self._seconds)
        if is_known(request, headers):
            return Response(status_code=304, headers=headers)
        headers["Content-Disposition"] = f'attachment; filename="preliminary-{year}-{test}.csv"'
        if request.method == "HEAD":
            return Response(media_type=_CSV, headers=headers)
        return FileResponse(self._slots, file.lines(gateway.tables), headers)


def _existing(known: OrganizationList, code: str) -> OrganizationId:
    organization = organization_id(code)
    if organization not in known or is_canary(organization):
        raise HTTPException(404)
    return organization


def _listed_ms(known: OrganizationList) -> int:
    """When the directory changed last; its version is that time in microseconds."""
    return known.version // 1000


def _decided_ms(gateway: Gateway, known: OrganizationList) -> int:
    """When it changed last what is released, or what it is called."""
    return max(gateway.hub.releases.changed_ms, _listed_ms(known))


def _year(request: Request) -> int:
    text = request.query_params.get("year", "")
    if not (text.isascii() and text.isdigit() and len(text) == 4 and int(text) in _YEARS):
        raise InvalidInput(
            f"year is '{text[:40]}'; expected the year in which the school year ends, such as 2026"
        )
    return int(text)


def figures_json(organization: OrganizationSummary, shown: Sequence[CellImage]) -> bytes:
    """The body of an organization's figures."""
    # No time of the answer in it: the same figures are the same bytes, whenever they are asked for.
    return b'{"preliminary":true,"organizations":[%s]}' % whole_fragment(organization, shown)


def figures_csv(organization: OrganizationSummary, shown: Sequence[CellImage]) -> bytes:
    """The same as CSV, without the claims."""
    rows = (
        figures_row(organization.id, organization.name, _decode_figures(image.encoded)) for image in shown
    )
    return csv_text(FIGURES_HEADER, rows).encode()

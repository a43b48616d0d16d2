"""The import endpoint: submit documents, look up what became of one, or of a batch."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.audit.notes import Notes
from gateway.imports.bodies import BodyRoom
from gateway.imports.documents import (
    JSON,
    XML,
    Document,
    TooManyDocuments,
    accepted_type,
    clean_filename,
    split_json,
    split_multipart,
)
from gateway.imports.judging import MayLoad
from gateway.imports.problems import Problem
from gateway.imports.records import IMPORTS_PATH, Submission, shown, summary, tally
from gateway.imports.service import ImportService
from gateway.imports.settings import ImportSettings
from gateway.problems import RETRY_AFTER_SECONDS, problem, problem_response
from gateway.tokens import Principal, TokenRefused
from schemas.access.permissions import Permission, Rights
from schemas.access.roles import IMPORT_ROLE
from schemas.audit import AuditKind
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.identifiers import CANARY_COUNTY, STATE
from schemas.process.audit.auditor import NoAudit

logger = logging.getLogger(__name__)

_LONGEST_BATCH: Final = 200
_IDS_NOTED: Final = 50  # of one request, in its audit entry


# Who the request's Authorization header stands for; None when it has none. A cookie must not do: what it carries is sent
# by any page that a browser shows. Raises TokenRefused for a token that opens nothing.
Authenticate = Callable[[Request], Principal | None]


def import_routes(
    service: ImportService, authenticate: Authenticate, settings: ImportSettings, notes: Notes | None = None
) -> list[Route]:
    """The routes, for the application to mount; without ``notes`` nothing is noted."""
    notes = notes or Notes(NoAudit())
    endpoint = _Endpoint(service, authenticate, settings, notes)
    return [
        Route(IMPORTS_PATH, _answering(endpoint.submit, notes), methods=["POST"]),
        Route(IMPORTS_PATH, _answering(endpoint.batch, notes), methods=["GET"]),
        Route(IMPORTS_PATH + "/{import_id}", _answering(endpoint.find, notes), methods=["GET"]),
    ]


class _Endpoint:
    def __init__(
        self, service: ImportService, authenticate: Authenticate, settings: ImportSettings, notes: Notes
    ) -> None:
        self._service = service
        self._notes = notes
        self._authenticate = authenticate
        self._settings = settings
        self._room = BodyRoom(settings)

    async def submit(self, request: Request) -> Response:
        caller, may_load = self._loader(request)
        kind, boundary = _kind(request)
        batch = _batch(request)
        filename = clean_filename(request.query_params.get("filename"))
        most = self._settings.request_documents
        with self._room.reservation() as reservation:
            body = await self._room.read(request, reservation)
            documents, many = await asyncio.to_thread(_split, body, kind, boundary, filename, most)
            submissions = await self._service.submit(documents, caller.subject, batch, may_load=may_load)
        self._notes.read(request, caller, AuditKind.IMPORTED, report="individual", **_outcome(submissions))
        content = await asyncio.to_thread(_answer, submissions, many)
        return _json(content, HTTPStatus.ACCEPTED)

    async def find(self, request: Request) -> Response:
        caller, _ = self._loader(request)
        record = await self._service.find(request.path_params["import_id"], caller.subject)
        if record is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                "There is no such import, or it is not yours; imports are kept for "
                f"{self._settings.keep_days} days.",
            )
        self._notes.read(
            request,
            caller,
            AuditKind.IMPORT_READ,
            report="individual",
            outcome=record.status.name,
            detail=record.id,
        )
        return _json(msgspec.json.encode(shown(record)), HTTPStatus.OK)

    async def batch(self, request: Request) -> Response:
        caller, _ = self._loader(request)
        batch = _batch(request)
        if batch is None:
            raise Problem(HTTPStatus.BAD_REQUEST, "Name a batch: GET /v1/exams/imports?batch=NAME.")
        counts = await self._service.batch_counts(caller.subject, batch)
        if not counts:
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such batch, or it is not yours.")
        return _json(msgspec.json.encode({"batch": batch, **summary(counts)}), HTTPStatus.OK)

    def _loader(self, request: Request) -> tuple[Principal, MayLoad]:
        caller = self._authenticate(request)
        if caller is None:
            raise TokenRefused("missing", "Send an access token: Authorization: Bearer TOKEN.")
        may_load = _may_load(caller.rights)
        if not may_load:
            raise Problem(
                HTTPStatus.FORBIDDEN,
                f"This token may not load results; that takes the role {IMPORT_ROLE} for the state.",
            )
        return caller, may_load


def _may_load(rights: Rights) -> MayLoad:
    may_load = MayLoad.REAL if rights.covers(Permission.DATA_WRITE, STATE) else MayLoad(0)
    canary = (Permission.DATA_WRITE, Permission.OPERATIONS_CANARY)
    if all(rights.covers(permission, CANARY_COUNTY) for permission in canary):
        may_load |= MayLoad.CANARIES
    return may_load


def _answering(
    handler: Callable[[Request], Awaitable[Response]],
    notes: Notes,
) -> Callable[[Request], Awaitable[Response]]:
    """The handler, with what only imports raise turned into answers; the rest is answered as everywhere."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Problem as error:
            if error.status is HTTPStatus.FORBIDDEN:
                notes.refused(request, error.status, "forbidden")
            return problem(error.status, error.detail, error.headers)
        except TooManyDocuments as error:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _sentence(error))
        except DependencyUnavailable as error:
            logger.warning("import not possible: %s", error)
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Results cannot be stored safely just now, and nothing of this request was accepted; "
                f"send it again in {RETRY_AFTER_SECONDS} s.",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        except TokenRefused as error:
            notes.refused(request, HTTPStatus.UNAUTHORIZED, error.reason)
            return problem_response(error)
        except InvalidInput as error:
            return problem_response(error)

    return answer


def _kind(request: Request) -> tuple[str, bytes | None]:
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Encoding is '{encoding[:40]}'; send the body as it is, without compression.",
        )
    try:
        return accepted_type(request.headers.get("content-type", ""))
    except InvalidInput as error:
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _sentence(error)) from None


def _batch(request: Request) -> str | None:
    name = request.query_params.get("batch", "").strip()
    if len(name) > _LONGEST_BATCH or not name.isprintable():
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            f"The batch name has {len(name)} characters or unprintable ones; expected up to {_LONGEST_BATCH} printable ones.",
        )
    return name or None


def _split(
    body: bytes, kind: str, boundary: bytes | None, filename: str | None, most: int
) -> tuple[list[Document], bool]:
    if boundary is not None:
        documents = split_multipart(body, boundary, most)
        if not documents:
            raise InvalidInput("the multipart body holds no file; send each report as a file part")
        return documents, True
    if kind == JSON:
        documents, many = split_json(body, filename, most)
        if not documents:
            raise InvalidInput("the JSON array is empty; send at least one event")
        return documents, many
    return [Document(body, XML, filename)], False


def _answer(submissions: list[Submission], many: bool) -> bytes:
    imports = [shown(submission.record) for submission in submissions]
    if not many:
        return msgspec.json.encode(imports[0])
    return msgspec.json.encode({"imports": imports, "summary": summary(tally(submissions))})


def _outcome(submissions: list[Submission]) -> dict[str, Any]:
    """What became of an import, for the audit: counts, and the ids of as many as an entry holds."""
    counts = tally(submissions)
    ids = [submission.record.id for submission in submissions[:_IDS_NOTED]]
    more = len(submissions) - len(ids)
    return {
        "outcome": ", ".join(f"{name} {number}" for name, number in sorted(counts.items())),
        "detail": " ".join(ids) + (f" and {more} more" if more else ""),
    }


def _json(content: bytes, status: HTTPStatus) -> Response:
    return Response(content, status_code=status, media_type="application/json")


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")

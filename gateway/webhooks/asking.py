"""What all requests about webhooks have in common: who asks, about which endpoint, the note in the audit, and the refusals."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, NamedTuple, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.audit.notes import watched_organizations
from gateway.problems import RETRY_AFTER_SECONDS, problem
from gateway.request_bodies import read_order
from gateway.service import Gateway, gateway_of
from gateway.tokens import Principal
from gateway.topics import Topic, parse_since
from gateway.webhooks.finding import EndpointFinder, NoSuchEndpoint
from gateway.webhooks.permitted import is_owner
from gateway.webhooks.room import NotNow
from gateway.webhooks.secret_keeping import TooManySecrets
from gateway.webhooks.store import WebhooksAway
from schemas.access.permissions import Permission
from schemas.audit import AuditKind
from schemas.errors import InvalidInput
from schemas.webhooks.endpoints import Endpoint

logger = logging.getLogger(__name__)

LARGEST_ORDER: Final = 65_536  # 500 organizations are 30 kB
_MOST_LISTED: Final = 1_000
_USUALLY_LISTED: Final = 100

Handler = Callable[[Request], Awaitable[Response]]
Order = TypeVar("Order")


class Asking(NamedTuple):
    """One request by somebody who may ask."""

    request: Request
    gateway: Gateway
    principal: Principal

    async def note(
        self, kind: AuditKind, endpoint: Endpoint, detail: str, *, before: Endpoint | None = None
    ) -> None:
        """Note a change, of what was ``before``; returns when that is written.

        Raises:
            AuditUnavailable: it cannot be, so nothing may be changed.
        """
        topics = [str(Topic(one.organization)) for one in endpoint.follows]
        own = is_owner(self.principal, before or endpoint)
        self.gateway.notes.read(
            self.request,
            self.principal,
            kind,
            **watched_organizations(self.principal, topics),
            rule="" if own else Permission.WEBHOOKS_MANAGE.value,
            outcome=endpoint.id,
            detail=detail,
        )
        await self.gateway.audit.written()


def reading(request: Request) -> Asking:
    """Somebody asks to see something: with the token of the header, or of the page's cookie."""
    gateway = gateway_of(request)
    return Asking(request, gateway, gateway.credentials.by_header_or_cookie(request))


def changing(request: Request) -> Asking:
    """Somebody asks for something to be done: with the header's token only."""
    gateway = gateway_of(request)
    return Asking(request, gateway, gateway.credentials.by_header_only(request))


async def named_endpoint(asking: Asking, finder: EndpointFinder) -> Endpoint:
    """The endpoint of the request's address.

    Raises:
        NoSuchEndpoint: there is none for whoever asks.
    """
    return await finder.find(asking.principal, asking.request.path_params["endpoint"])


async def optional_order(request: Request, decoder: msgspec.json.Decoder[Order], example: str) -> Order:
    """The body, or what an empty object says when there is none.

    Raises:
        InvalidInput: it is something else.
    """
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        return decoder.decode(b"{}")
    return await read_order(request, decoder, most_bytes=LARGEST_ORDER, example=example)


def asked_since(since: str | int | None, now_ms: int) -> int | None:
    """The moment that a request names, as milliseconds since 1970.

    Raises:
        InvalidInput: it is none, or still to come.
    """
    if since is None:
        return None
    moment_ms = parse_since(str(since))
    if moment_ms > now_ms:
        raise InvalidInput(f"since is '{str(since)[:40]}', which is still to come")
    return moment_ms


def asked_limit(request: Request) -> int:
    """How many are asked for.

    Raises:
        InvalidInput: that is no number, or too many.
    """
    text = request.query_params.get("limit", str(_USUALLY_LISTED))
    if text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= _MOST_LISTED:
        return int(text)
    raise InvalidInput(f"limit is '{text[:40]}'; expected a whole number from 1 to {_MOST_LISTED}")


def answering(handler: Handler) -> Handler:
    """The handler, with what only webhooks raise turned into answers; the rest is answered as everywhere."""

    @functools.wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except NoSuchEndpoint as error:
            gateway = gateway_of(request)
            gateway.metrics.denied.labels("endpoint").inc()
            gateway.notes.refused(request, HTTPStatus.NOT_FOUND, "endpoint")
            return problem(HTTPStatus.NOT_FOUND, str(error))
        except (NotNow, TooManySecrets) as error:
            return problem(HTTPStatus.CONFLICT, str(error))
        except WebhooksAway as error:
            logger.warning("webhooks not available: %s", error)
            return problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"Webhooks cannot be read or changed just now; ask again in {RETRY_AFTER_SECONDS} s. Look before you make an "
                "endpoint again: it may be there after all.",
                {"Retry-After": str(RETRY_AFTER_SECONDS)},
            )

    return answer

"""How tickets and revocations are described in the API's description; the structs describe themselves."""

from __future__ import annotations

from typing import Any, Final

from gateway.openapi_parts import json_answer, json_content, refusals
from gateway.revocation_routes import ListedRevocation, ListedRevocations, RevocationOrder
from gateway.ticket_routes import IssuedTicket

ACCESS_STRUCTS: Final = (IssuedTicket, RevocationOrder, ListedRevocation, ListedRevocations)
_BEARER: Final[list[dict[str, list[str]]]] = [{"bearer": []}]


def access_paths() -> dict[str, Any]:
    """The paths of ``gateway.ticket_routes`` and ``gateway.revocation_routes``."""
    bodies = refusals("413", "415")
    usual = refusals("400", "401", "403", "503")
    return {
        "/v1/stream/tickets": {
            "post": {
                "operationId": "issueTicket",
                "summary": "A one-use ticket for a stream, for EventSource on a page of another origin",
                "description": "Redeem it within 30 s: GET /v1/stream?ticket=TICKET. After that it serves only the reconnects "
                "of its stream.",
                "security": _BEARER,
                "requestBody": _body("SubscriptionRequest"),
                "responses": {"201": json_answer("The ticket.", "IssuedTicket"), **usual, **bodies},
            }
        },
        "/v1/revocations": {
            "get": {
                "operationId": "revocations",
                "summary": "Which tokens open nothing any more, as far as you may revoke",
                "security": _BEARER,
                "responses": {"200": json_answer("They.", "ListedRevocations"), **usual},
            },
            "post": {
                "operationId": "revoke",
                "summary": "Let a subject's, one or a district's tokens open nothing from now on",
                "description": "Exactly one of `subject`, `token` (its jti) and `district`. Takes TOKEN_REVOKE: statewide, or "
                "for a district there. Streams are closed on every node; tokens issued later are not touched.",
                "security": _BEARER,
                "requestBody": _body("RevocationOrder"),
                "responses": {"201": json_answer("Done.", "ListedRevocation"), **usual, **bodies},
            },
        },
    }


def _body(schema: str) -> dict[str, Any]:
    return {"required": True, "content": json_content(schema)}

"""The part of the API's description that is about webhook endpoints; what is sent to them is in ``schemas.webhooks.openapi``."""

from __future__ import annotations

from typing import Any, Final

from gateway.openapi_parts import json_answer, json_content, query_parameter, refusals, shared_answers
from gateway.webhooks.answers import (
    AcceptedOrder,
    IssuedEndpoint,
    MessageWithAttempts,
    ShownEndpoints,
    ShownMessages,
)
from gateway.webhooks.endpoint_routes import ENDPOINTS_PATH
from gateway.webhooks.wanted import EndpointChange, NewEndpoint, Rotation, SinceOrder
from schemas.webhooks.messages import MessageState

WEBHOOK_STRUCTS: Final = (
    NewEndpoint,
    EndpointChange,
    Rotation,
    SinceOrder,
    IssuedEndpoint,
    ShownEndpoints,
    ShownMessages,
    MessageWithAttempts,
    AcceptedOrder,
)

_BEARER: Final[list[dict[str, list[str]]]] = [{"bearer": []}]
_ONE: Final = ENDPOINTS_PATH + "/{endpoint}"
_TEXT: Final = (
    "Whoever sees the aggregates of all that it follows may make an endpoint; the events result.rescored and "
    "result.invalidated take INDIVIDUAL_PII_READ there, too. It is told in their name, and what they may see is judged again at each "
    "delivery. Before the first message its address is asked whether it wants any: see endpoint.ping. A deployment without "
    "webhooks answers 404."
)
_CHANGED_TEXT: Final = "What is left out stays. The endpoint is told in your name from then on. With `revision`, only if that is the latest."
_SINCE: Final = {"type": "string", "examples": ["2026-05-04T12:00:00Z", "1777896000000"]}


def webhook_paths() -> dict[str, Any]:
    """The paths of this area."""
    limit = query_parameter(
        "limit", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}, "At most."
    )
    after = query_parameter("after", {"type": "string"}, "Those after this one: `next` of the page before.")
    since = query_parameter("since", _SINCE, "Only messages made since.")
    state = query_parameter(
        "state",
        {"type": "array", "minItems": 1, "items": {"enum": [one.value for one in MessageState]}},
        "Repeated: any of them.",
    )
    listed = json_answer("The latest first.", "ShownMessages")
    issued = "IssuedEndpoint"
    return {
        ENDPOINTS_PATH: {
            "get": {
                "operationId": "webhookEndpoints",
                "summary": "Your webhook endpoints, and those that you look after",
                "description": "Others' are shown with WEBHOOKS_MANAGE and CUSTOM_AGGREGATE_READ for the districts of all that "
                "they follow.",
                "parameters": [after, limit],
                "responses": {"200": json_answer("By id.", "ShownEndpoints"), **_refusals("400", "403")},
            },
            "post": _change(
                "createWebhookEndpoint",
                "Make an endpoint",
                {"201": json_answer("The secrets are not shown again.", issued)},
                body="NewEndpoint",
                text=_TEXT,
                named=False,
            ),
        },
        _ONE: {
            "get": _show("webhookEndpoint", "An endpoint, and how it fares", _shown(), []),
            "patch": _change(
                "changeWebhookEndpoint",
                "Change an endpoint",
                {"200": _shown()},
                body="EndpointChange",
                text=_CHANGED_TEXT,
            ),
            "delete": _change(
                "deleteWebhookEndpoint",
                "Delete an endpoint",
                {"204": {"description": "Nothing is sent there any more."}},
            ),
        },
        f"{_ONE}/rotate-secret": _post(
            "rotateWebhookSecret",
            "New secrets; those of before sign on for a day beside them, or end at once",
            {"200": json_answer("They are not shown again.", issued)},
            body="Rotation",
        ),
        f"{_ONE}/pause": _post("pauseWebhookEndpoint", "Send nothing until resumed", {"200": _shown()}),
        f"{_ONE}/resume": _post(
            "resumeWebhookEndpoint",
            "Send again, first the latest of what changed meanwhile",
            {"200": _shown()},
        ),
        f"{_ONE}/enable": _post(
            "enableWebhookEndpoint",
            "Deliver again to an endpoint that was disabled; after a revocation, in your name",
            _accepted(),
        ),
        f"{_ONE}/ping": _post("pingWebhookEndpoint", "Send a test message", _accepted()),
        f"{_ONE}/recover": _post(
            "recoverWebhookEndpoint",
            "Tell again all that has changed since a time, as it is now",
            _accepted(),
            body="SinceOrder",
        ),
        f"{_ONE}/messages": {
            "get": _show(
                "webhookMessages", "What was sent to an endpoint", listed, [state, since, after, limit]
            )
        },
        f"{_ONE}/messages/{{message}}": {
            "get": _show(
                "webhookMessage",
                "A message, and the attempts to deliver it",
                json_answer("Without its body.", "MessageWithAttempts"),
                [_MESSAGE],
            )
        },
        f"{_ONE}/messages/{{message}}/replay": _post(
            "replayWebhookMessage", "Send a message again", _accepted(), more=[_MESSAGE]
        ),
        f"{_ONE}/dead": {
            "get": _show("deadWebhookMessages", "Messages that were given up", listed, [since, after, limit])
        },
        f"{_ONE}/dead/retry": _post(
            "retryDeadWebhookMessages",
            "Send all that was given up again, or what was made since a time",
            _accepted(),
            body="SinceOrder",
        ),
    }


def _path(name: str, prefix: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{prefix}_[a-z2-7]{{26,27}}$"},
    }


_ENDPOINT: Final = _path("endpoint", "ep")
_MESSAGE: Final = _path("message", "msg")


def _shown() -> dict[str, Any]:
    return json_answer("As it is now.", "ShownEndpoint")


def _accepted() -> dict[str, Any]:
    return {"202": json_answer("The delivering worker does it.", "AcceptedOrder")}


def _show(
    name: str, summary: str, answer: dict[str, Any], parameters: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [_ENDPOINT, *parameters],
        "responses": {"200": answer, **_refusals("400", "404")},
    }


def _post(
    name: str,
    summary: str,
    answers: dict[str, Any],
    *,
    body: str | None = None,
    more: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {"post": _change(name, summary, answers, body=body, more=more)}


def _change(
    name: str,
    summary: str,
    answers: dict[str, Any],
    *,
    body: str | None = None,
    text: str = "",
    named: bool = True,
    more: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    statuses = ["400", "403", *(["404"] if named else []), "409", *(["413", "415"] if body else [])]
    required = body in ("NewEndpoint", "EndpointChange")
    return {
        "operationId": name,
        "summary": summary,
        **({"description": text} if text else {}),
        "security": _BEARER,
        **({"parameters": [_ENDPOINT, *(more or [])]} if named else {}),
        **({"requestBody": {"required": required, "content": json_content(body)}} if body else {}),
        "responses": {**answers, **_refusals(*statuses)},
    }


def _refusals(*statuses: str) -> dict[str, Any]:
    own = {"404": "NoEndpoint", "409": "Conflict"}
    return {
        **refusals("401", *(status for status in statuses if status not in own), "503"),
        **shared_answers({status: name for status, name in own.items() if status in statuses}),
    }

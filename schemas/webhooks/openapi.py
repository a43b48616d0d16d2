"""The webhooks in the API's description (OpenAPI 3.1), made of the bodies' own types, so that it cannot drift from them."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any, Final

import msgspec
from msgspec import Struct

from schemas.json_schema import with_clean_descriptions
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.examples import examples_of
from schemas.webhooks.ids import CONFIRMATION_HEADER
from schemas.webhooks.payload_types import PAYLOADS
from schemas.webhooks.retrying import ATTEMPT_SECONDS, ATTEMPTS
from schemas.webhooks.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER

REFERENCE: Final = "#/components/schemas/{name}"

SIGNING_HEADERS: Final[dict[str, dict[str, Any]]] = {
    ID_HEADER: {
        "description": "The same for every attempt, and for every message that says the same: pass over what you have had.",
        "schema": {"type": "string", "pattern": "^msg_[a-z2-7]{27}$"},
    },
    TIMESTAMP_HEADER: {
        "description": "Of this attempt, in seconds since 1970. Refuse what is more than five minutes off.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,12}$"},
    },
    SIGNATURE_HEADER: {
        "description": "Of <webhook-id>.<webhook-timestamp>.<body>, one for each secret in force, separated by spaces: "
        "v1,<base64 of HMAC-SHA256> or v1a,<base64 of an ed25519 signature>. One that fits is enough.",
        "schema": {"type": "string", "pattern": "^v1a?,[A-Za-z0-9+/]+=*( v1a?,[A-Za-z0-9+/]+=*)*$"},
    },
}

_DELIVERY: Final = (
    f"Sent as Standard Webhooks. Any 2xx within {ATTEMPT_SECONDS:.0f} s takes it; else there are {ATTEMPTS} attempts over "
    "three days. A message may come twice, and those of different organizations come in any order."
)
_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    "2XX": {"description": "Taken; the body is not read."},
    "410": {"description": "Nothing is wanted any more: the endpoint is disabled."},
    "429": {
        "description": "Later, and less often; Retry-After is obeyed, up to a day. Likewise 502 and 504."
    },
    "default": {"description": "Not taken, and tried again. So are redirects: they are not followed."},
}
_PING_ANSWERS: Final[dict[str, dict[str, Any]]] = {
    **_ANSWERS,
    "2XX": {
        "description": "Taken. Where the body has a confirmation, the address confirms by answering it.",
        "headers": {
            CONFIRMATION_HEADER: {
                "description": "The confirmation of the body; instead it may be the whole body of the answer, as text.",
                "schema": {"type": "string"},
            }
        },
    },
}


def webhooks_section() -> dict[str, Any]:
    """The document's member ``webhooks``; it refers to ``webhook_schemas``."""
    return {event_of(payload).value: {"post": _operation(payload)} for payload in PAYLOADS}


def webhook_schemas(template: str = REFERENCE) -> dict[str, Any]:
    """The schemas of the bodies by name, for ``components``; ``Figures`` and its parts are among them."""
    _, described = msgspec.json.schema_components(PAYLOADS, ref_template=template)
    schemas: dict[str, Any] = with_clean_descriptions(described)
    return schemas


def event_of(payload: type[Struct]) -> EventType:
    """The event type that a body's type tells of."""
    return EventType(str(payload.__struct_config__.tag))


def _operation(payload: type[Struct]) -> dict[str, Any]:
    event = event_of(payload)
    summary = cleandoc(payload.__doc__ or "").partition("\n")[0]
    answers = _PING_ANSWERS if event is EventType.ENDPOINT_PING else _ANSWERS
    schema = {"$ref": REFERENCE.format(name=payload.__name__)}
    shown = {name: {"value": value} for name, value in examples_of(payload)}
    content = {"application/json": {"schema": schema, "examples": shown}}
    return {
        "operationId": f"on{payload.__name__}",
        "summary": summary,
        "description": _DELIVERY,
        # Its sender proves itself by the signature; a token of ours it does not have.
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": True, **header}
            for name, header in SIGNING_HEADERS.items()
        ],
        "requestBody": {"required": True, "content": content},
        "responses": answers,
    }

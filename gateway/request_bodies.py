"""Small request bodies, within their limit and of the declared kind; and orders, which are JSON of a known form."""

from __future__ import annotations

from http import HTTPStatus
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from schemas.errors import InvalidInput

Order = TypeVar("Order")


async def read_body(
    request: Request, *, most_bytes: int, kind: str = "application/json", remedy: str = ""
) -> bytes:
    """The whole body.

    Raises:
        HTTPException: 415 of another kind, 413 too large (``remedy`` says what to do about it), 400 cut off.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != kind:
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type is '{declared[:40]}'; expected {kind}"
        )
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most_bytes:
                ending = f"; {remedy}" if remedy else ""
                raise HTTPException(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {most_bytes} bytes{ending}"
                )
    except ClientDisconnect:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the connection ended before the body did") from None
    return bytes(body)


async def read_order(
    request: Request, decoder: msgspec.json.Decoder[Order], *, most_bytes: int, example: str
) -> Order:
    """The body as what the decoder makes of it.

    Raises:
        InvalidInput: it is something else; the message shows ``example``.
        HTTPException: as from ``read_body``.
    """
    body = await read_body(request, most_bytes=most_bytes)
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the body is not as expected: {error}; send {example}") from None

"""Answers that anybody may keep for a while, and ask for again without getting them twice; pure but for the answer."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response


def tag_of(content: bytes) -> str:
    """A strong entity tag: the same bytes, the same tag."""
    return f'"{blake2b(content, digest_size=12).hexdigest()}"'


def weak_tag(*parts: object) -> str:
    """A weak entity tag of what an answer is made from."""
    return "W/" + tag_of("\n".join(map(str, parts)).encode())


def kept_headers(tag: str, modified_ms: int, seconds: float) -> dict[str, str]:
    """The headers of an answer that may be kept for some seconds; the same on 200 and 304."""
    return {
        "Cache-Control": f"public, max-age={int(seconds)}",
        "ETag": tag,
        "Last-Modified": formatdate(modified_ms // 1000, usegmt=True),
    }


def is_known(request: Request, headers: Mapping[str, str]) -> bool:
    """Whether the caller has this very answer.

    A time counts only when it is the one that we gave: figures can be withdrawn, and what is shown then may be of an earlier
    time than what was.
    """
    asked = request.headers.get("if-none-match")
    if asked is not None:
        known = {tag.strip().removeprefix("W/") for tag in asked.split(",")}
        return headers["ETag"].removeprefix("W/") in known
    return request.headers.get("if-modified-since") == headers["Last-Modified"]


def kept_response(
    request: Request,
    content: bytes,
    media_type: str,
    *,
    modified_ms: int,
    seconds: float,
    more: Mapping[str, str] | None = None,
) -> Response:
    """The content, or 304 for a caller that has it."""
    headers = {**kept_headers(tag_of(content), modified_ms, seconds), **(more or {})}
    if is_known(request, headers):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)

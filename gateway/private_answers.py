"""Answers that are for whoever asked, and kept by nobody on the way."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import Response

PRIVATE: Final = {"Cache-Control": "private, no-store", "Vary": "Authorization, Cookie"}


def private_json(body: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """A struct or whatever else msgspec writes as JSON."""
    return Response(
        msgspec.json.encode(body), status_code=status, media_type="application/json", headers=PRIVATE
    )

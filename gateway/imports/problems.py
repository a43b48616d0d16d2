"""A request to the import endpoint that is wrong in itself, or cannot be served now."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from schemas.errors import ScoreStreamError


class Problem(ScoreStreamError):
    """A request that is not served; the detail names the value and the remedy."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers

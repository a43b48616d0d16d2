"""The web pages: a few files of this package, served as they are, under a policy that lets nothing else in."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from pathlib import PurePath
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_PAGES: Final = {"index.html": "/", "ops.html": "/ops"}
_FILES: Final = (
    "app.js",
    "charts.js",
    "drawing.js",
    "ops.js",
    "parts.js",
    "picker.js",
    "readers.js",
    "results.js",
    "session.js",
    "units.js",
    "verdicts.js",
    "ops.css",
    "style.css",
    "icon.svg",
)
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_routes() -> list[Route]:
    """``/``, ``/ops`` and the files that they ask for. They are for everybody; what they show takes a token."""
    folder = files("gateway").joinpath("page")
    addresses = _PAGES | {name: f"/page/{name}" for name in _FILES}
    return [
        Route(
            address,
            _PageFile(folder.joinpath(name).read_bytes(), _TYPES[PurePath(name).suffix]).answer,
            methods=["GET"],
        )
        for name, address in addresses.items()
    ]


class _PageFile:
    def __init__(self, content: bytes, kind: str) -> None:
        self._content = content
        self._headers = {
            "Content-Type": kind,
            # Asked again each time, so that a new gateway is never met with an old script.
            "Cache-Control": "no-cache",
            "ETag": f'"{sha256(content).hexdigest()[:20]}"',
            "Content-Security-Policy": _POLICY,
        }

    async def answer(self, request: Request) -> Response:
        if request.headers.get("if-none-match") == self._headers["ETag"]:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)

"""The web page: a few files of this package, served as they are, under a policy that lets nothing else in."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES: Final = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "drawing.js": "text/javascript; charset=utf-8",
    "picker.js": "text/javascript; charset=utf-8",
    "results.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_routes() -> list[Route]:
    """``/`` and the files that it asks for."""
    folder = files("gateway").joinpath("page")
    served = {name: _PageFile(folder.joinpath(name).read_bytes(), kind) for name, kind in _TYPES.items()}
    return [
        Route("/" if name == "index.html" else f"/page/{name}", file.answer, methods=["GET"])
        for name, file in served.items()
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

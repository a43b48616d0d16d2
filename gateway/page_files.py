"""The web pages: a few files of this package, under a policy that lets nothing else in.

All but the pages are served as they are. A page has what is its own, and ``frame.html`` what all have around it.
"""

from __future__ import annotations

import re
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
_SLOT: Final = re.compile(r'<slot name="([a-z-]+)"></slot>')
_FILLING: Final = re.compile(r'<template slot="([a-z-]+)">(.*?)</template>', re.DOTALL)
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
    frame = folder.joinpath("frame.html").read_text("utf-8")
    contents = {
        address: (name, framed(frame, folder.joinpath(name).read_text("utf-8")).encode())
        for name, address in _PAGES.items()
    }
    contents |= {f"/page/{name}": (name, folder.joinpath(name).read_bytes()) for name in _FILES}
    return [
        Route(address, _PageFile(content, _TYPES[PurePath(name).suffix]).answer, methods=["GET"])
        for address, (name, content) in contents.items()
    ]


def framed(frame: str, page: str) -> str:
    """The frame, each of its slots filled with the page's template of that name.

    Raises:
        KeyError: the page has no template for a slot.
    """
    fillings = {name: content.strip("\n") for name, content in _FILLING.findall(page)}
    return _SLOT.sub(lambda slot: fillings[slot[1]], frame)


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

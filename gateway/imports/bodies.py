"""Request bodies, gathered within their limits: one body's size, all bodies' together, and the time one may take."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from starlette.requests import ClientDisconnect, Request

from gateway.imports.problems import Problem
from gateway.imports.settings import ImportSettings

_MIB = 1024 * 1024
_ROOM_SOON = {"Retry-After": "2"}


class BodyRoom:
    """The memory that waiting bodies share, so that many large requests cannot fill it."""

    def __init__(self, settings: ImportSettings) -> None:
        self._settings = settings
        self._taken = 0

    @contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """Room for one body; it is given back at the end, when nothing of the body is needed any more."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self._taken -= reservation.bytes

    def take(self, number: int) -> None:
        """Take so many bytes.

        Raises:
            Problem: 503, there is no room just now.
        """
        if self._taken + number > self._settings.waiting_bytes:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "Other imports fill the memory that is set aside for them; send this request again in a moment.",
                _ROOM_SOON,
            )
        self._taken += number

    async def read(self, request: Request, reservation: Reservation) -> bytes:
        """The whole body.

        Raises:
            Problem: 400 empty, 408 too slow, 413 too large, 503 no room.
        """
        limit = self._settings.request_bytes
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > limit:
            raise _too_large(limit)
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.request_seconds):
                async for chunk in request.stream():
                    if len(body) + len(chunk) > limit:
                        raise _too_large(limit)
                    reservation.grow(len(chunk))
                    body += chunk
        except TimeoutError:
            raise Problem(
                HTTPStatus.REQUEST_TIMEOUT,
                f"The body did not arrive within {self._settings.request_seconds:g} s; send fewer documents at a time.",
            ) from None
        except ClientDisconnect:
            raise Problem(HTTPStatus.BAD_REQUEST, "The connection ended before the body did.") from None
        if not body:
            raise Problem(HTTPStatus.BAD_REQUEST, "The body is empty; send at least one exam report.")
        return bytes(body)


class Reservation:
    """The room that one body takes."""

    def __init__(self, room: BodyRoom) -> None:
        self.bytes = 0
        self._room = room

    def grow(self, number: int) -> None:
        """Take more.

        Raises:
            Problem: 503, there is no room just now.
        """
        self._room.take(number)
        self.bytes += number


def _too_large(limit: int) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body is larger than {limit / _MIB:g} MiB; send fewer documents at a time.",
    )

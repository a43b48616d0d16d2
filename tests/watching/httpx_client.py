"""httpx-sse, with the loop around it that its README leaves to the user."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final, Self

import httpx
from httpx_sse import connect_sse

from tests.watching.clients import Followed
from tests.watching.seen import END, EVENTS, GAVE_UP, OPEN, Seen

_SILENCE_SECONDS: Final = 20.0  # as docs/wire-format.md has it; a connection so silent is given up


class HttpxClient:
    """Each stream in a thread."""

    def __init__(self, gateway: str, token: str, followed: Sequence[Followed]) -> None:
        self._gateway = gateway
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._follow, args=(one,), name="httpx-sse", daemon=True)
            for one in followed
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(_SILENCE_SECONDS)

    def _follow(self, followed: Followed) -> None:
        timeout = httpx.Timeout(5, read=_SILENCE_SECONDS)
        url, last_id, pause_ms = followed.watch.url(self._gateway), "", 3_000
        with httpx.Client(headers=self._headers, timeout=timeout, trust_env=False) as client:
            while not self._stopped.is_set():
                try:
                    with connect_sse(
                        client, "GET", url, headers={"Last-Event-ID": last_id} if last_id else {}
                    ) as source:
                        if source.response.status_code != 200:
                            followed.take(Seen(time.time(), GAVE_UP, f"status {source.response.status_code}"))
                            return
                        followed.take(Seen(time.time(), OPEN))
                        for event in source.iter_sse():
                            last_id, pause_ms = event.id or last_id, event.retry or pause_ms
                            if event.event in EVENTS:
                                followed.take(Seen(time.time(), event.event, event.data, last_id))
                            if self._stopped.is_set():
                                return
                except httpx.TransportError:
                    pass
                followed.take(Seen(time.time(), END))
                self._stopped.wait(pause_ms / 1000)

"""The browser's own EventSource, on the service's own page and with its session cookie."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final, Self

from schemas.errors import InvalidInput
from tests.e2e.browser import Page, browser, chromium
from tests.watching.clients import Followed
from tests.watching.seen import EVENTS, GAVE_UP, Seen

_POLL_SECONDS: Final = 0.1

_FOLLOW: Final = """
async (token, addresses, events) => {
  const answer = await fetch("/v1/session", {method: "POST", headers: {Authorization: `Bearer ${token}`}});
  if (!answer.ok) throw new Error(`no session: ${answer.status}`);
  window.seen = [];
  window.sources = addresses.map((address, stream) => {
    const source = new EventSource(address);
    const tell = (what, data = "", id = "") => seen.push({stream, at: Date.now(), what, data, id});
    source.onopen = () => tell("open");
    source.onerror = () => tell(source.readyState === EventSource.CLOSED ? "gave up" : "end");
    for (const kind of events) source.addEventListener(kind, ({data, lastEventId}) => tell(kind, data, lastEventId));
    return source;
  });
}
"""


class BrowserClient:
    """A page that follows all its streams; a thread takes from it what it has seen."""

    def __init__(self, gateway: str, token: str, followed: Sequence[Followed]) -> None:
        self._gateway = gateway
        self._followed = followed
        addresses = [one.watch.url("") for one in followed]  # on the page's own origin
        self._follow = f"({_FOLLOW.strip()})(...{json.dumps([token, addresses, EVENTS])})"
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        binary = chromium()
        if binary is None:
            raise InvalidInput("There is no Chromium on this machine; install it, or leave out the browser.")
        with self._resources as resources:
            page = Page(resources.enter_context(browser(binary)))
            page.open(f"{self._gateway}/")
            page.evaluate(self._follow)
            self._thread = threading.Thread(target=self._take, args=(page,), name="browser", daemon=True)
            self._thread.start()
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        assert self._thread is not None
        self._stopped.set()
        self._thread.join(30)
        self._resources.close()

    def _take(self, page: Page) -> None:
        try:
            while not self._stopped.wait(_POLL_SECONDS):
                for told in page.evaluate("seen.splice(0)"):
                    seen = Seen(told["at"] / 1000, told["what"], told["data"], told["id"])
                    self._followed[told["stream"]].take(seen)
        except (AssertionError, OSError) as error:
            for followed in self._followed:
                followed.take(Seen(0.0, GAVE_UP, f"the browser does not answer: {error}"))

"""A page of another origin in a real browser: a ticket opens its EventSource, which reconnects by itself until it is told no."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from e2e.browser import Page, Pipe, chromium
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    SCHOOL,
    STATE,
    GatewayProcess,
    RedisServer,
    gateway_process,
)
from tcp_proxy import TcpProxy

pytestmark = pytest.mark.skipif(chromium() is None, reason="not run: there is no Chromium on this machine")

OPEN = """
(async () => {
  window.seen = [];
  const answer = await fetch('%(gateway)s/v1/stream/tickets', {
    method: 'POST',
    headers: {Authorization: 'Bearer %(token)s', 'Content-Type': 'application/json'},
    body: JSON.stringify({topics: ['school/%(school)s']}),
  });
  const {ticket} = await answer.json();
  const source = window.source = new EventSource('%(gateway)s/v1/stream?ticket=' + ticket);
  for (const kind of ['subscribed', 'put', 'patch', 'bye'])
    source.addEventListener(kind, (event) => window.seen.push([kind, JSON.parse(event.data)]));
  return answer.status;
})()
"""


class _BlankPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>Dashboard</title><body>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def dashboard() -> Iterator[str]:
    """A page on a port, and so an origin, of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _BlankPage)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def gateway(redis: RedisServer, worker: FakeWorker, dashboard: str) -> Iterator[GatewayProcess]:
    with gateway_process(redis.url, SCORES_ALLOWED_ORIGINS=dashboard) as running:
        yield running


@pytest.fixture
def page(running_browser: Pipe) -> Iterator[Page]:
    opened = Page(running_browser)
    yield opened
    opened.close()


def count(kind: str) -> str:
    return f"seen.filter(([kind]) => kind === '{kind}').length"


def test_a_page_elsewhere_follows_a_school_by_ticket_over_a_lost_connection_until_it_is_revoked(
    page: Page, gateway: GatewayProcess, worker: FakeWorker, dashboard: str
) -> None:
    with TcpProxy(gateway.port) as proxy:
        page.open(dashboard)
        values = {
            "gateway": f"http://{proxy.address}",
            "token": gateway.token(DISTRICT, subject="mia@example.test"),
            "school": SCHOOL,
        }
        assert page.evaluate(OPEN % values) == 201
        page.wait_for(count("put"))
        proxy.cut()  # the browser comes back by itself, with the address of before
        page.wait_for(f"{count('subscribed')} === 2")
        worker.apply(SCHOOL, [scored(2460, 3)])
        page.wait_for(count("patch"))
        assert page.evaluate(count("put")) == 1  # it went on where it was
        with gateway.client(
            Authorization=f"Bearer {gateway.token(STATE, role='PRIVACY_OFFICER')}"
        ) as officer:
            order = {"subject": "mia@example.test"}
            assert officer.post("/v1/revocations", json=order).status_code == 201
        page.wait_for("seen.some(([kind, data]) => kind === 'bye' && data.reason === 'revoked')")
        # No script closes it: the refusal of its next connect does.
        page.wait_for("source.readyState === EventSource.CLOSED")


def test_a_page_that_is_not_listed_gets_no_ticket(
    page: Page, gateway: GatewayProcess, dashboard: str
) -> None:
    page.open(dashboard.replace("127.0.0.1", "localhost"))
    values = {"gateway": gateway.url, "token": gateway.token(DISTRICT), "school": SCHOOL}
    failed = page.evaluate(f"{(OPEN % values).strip()}.catch((error) => error.message)")
    assert failed == "Failed to fetch"

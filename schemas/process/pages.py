"""``/metrics`` and ``/healthz`` of a process that serves nothing else; the gateway has both among its routes."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from schemas.errors import InvalidInput
from schemas.process.pulse import Pulse

_JSON: Final = "application/json"


def serve_pages(port: int, registry: CollectorRegistry, pulse: Pulse) -> ThreadingHTTPServer | None:
    """Answer on every interface from threads of their own, so also while the event loop is busy; with port 0 nowhere.

    ``/healthz`` is 503 when the loop has stopped turning: the process then does nothing any more, and is to be restarted.

    Raises:
        InvalidInput: the port cannot be listened on.
    """
    if not port:
        return None

    class Pages(BaseHTTPRequestHandler):
        timeout = 10  # a client that says nothing does not keep a thread

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif path != "/healthz":
                self._answer(404, _JSON, b'{"status":"not found"}')
            elif pulse.still:
                self._answer(503, _JSON, b'{"status":"the event loop stands still"}')
            else:
                self._answer(200, _JSON, b'{"status":"ok"}')

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a scrape each few seconds is no news."""

    try:
        server = _Server(("", port), Pages)
    except OSError as error:
        raise InvalidInput(
            f"the metrics port {port} cannot be listened on ({error.strerror}); set another, or 0 for none"
        ) from error
    threading.Thread(target=server.serve_forever, name="pages for operators", daemon=True).start()
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: it is a scraper that went away."""

"""A receiver of webhooks on this machine: plain HTTP in threads of its own, each delivery judged and reported."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from cli.webhooks.inbox import Delivery, Inbox, Keys, refused
from schemas.errors import InvalidInput

_LARGEST_BODY: Final = 4 * 1024 * 1024
_IDLE_SECONDS: Final = 60.0  # somebody who falls silent does not hold a thread for longer

Report = Callable[[Delivery], None]


class LocalReceiver:
    """Takes deliveries while it is entered.

    Args:
        keys: asked at each delivery.
        report: told of every delivery, one after the other, from a thread of the receiver; its sender waits meanwhile.
        port: 0 is any free one.
    """

    def __init__(self, keys: Keys, report: Report, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises:
        InvalidInput: the port is taken, or not ours to take.
        """
        self._inbox = Inbox(keys)
        self._report = report
        self._one_at_a_time = threading.Lock()
        try:
            self._server = _Server((host, port), _handler(self))
        except OSError as error:
            raise InvalidInput(
                f"nothing can listen at {host}:{port} ({error.strerror}); try another --port"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="webhooks", daemon=True)

    @property
    def url(self) -> str:
        """Where to deliver to; any path will do."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, headers: dict[str, str], body: bytes) -> Delivery:
        """Judge a delivery and report it."""
        with self._one_at_a_time:
            delivery = self._inbox.take(headers, body, now=time.time())
            self._report(delivery)
        return delivery

    def refuse(self, reason: str, status: HTTPStatus) -> None:
        """Report something that is no delivery."""
        with self._one_at_a_time:
            self._report(refused(reason, status, now=time.time()))


class _Server(ThreadingHTTPServer):
    daemon_threads = True  # a connection that is kept open does not keep the command from ending
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: a connection that broke is the sender's affair, and a traceback would hide the table."""


def _handler(receiver: LocalReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = _IDLE_SECONDS

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if not (length.isascii() and length.isdigit()):
                return self.send_error(HTTPStatus.LENGTH_REQUIRED)
            if len(length) > 12 or int(length) > _LARGEST_BODY:
                return self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            body = self.rfile.read(int(length))
            delivery = receiver.take(dict(self.headers.items()), body)
            self.send_response(delivery.status)
            for name, value in delivery.headers.items():
                self.send_header(name, value)
            if delivery.status != HTTPStatus.NO_CONTENT:
                self.send_header("Content-Length", "0")
            self.end_headers()

        def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
            """Also what the library says to anything but a well-formed POST; what came is not believed, nor shown."""
            receiver.refuse("not a delivery", HTTPStatus(code))
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")  # what follows would be read as a request of its own
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: every delivery is reported."""

    return Handler

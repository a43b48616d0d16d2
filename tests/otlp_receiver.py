"""A collector of traces on this machine: takes OTLP over HTTP, and keeps the spans."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Received(NamedTuple):
    """One span as it arrived."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    links: tuple[tuple[str, str], ...]  # traces and spans
    attributes: dict[str, str]
    said: str  # everything in it that is text, its process's attributes and its events included

    @property
    def id(self) -> tuple[str, str]:
        """By which others name it."""
        return self.trace_id, self.span_id


class OtlpReceiver:
    """Listens until it is closed; ``spans`` grows."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    content = gzip.decompress(content)
                if self.path == "/v1/traces":
                    receiver.spans += _decoded(content)
                self.send_response(200 if self.path == "/v1/traces" else 404)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def named(self, name: str) -> list[Received]:
        """The spans of that name, as they came."""
        return [span for span in self.spans if span.name == name]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


def _decoded(content: bytes) -> list[Received]:
    request = ExportTraceServiceRequest.FromString(content)
    found = []
    for resource in request.resource_spans:
        process = {one.key: _text(one.value) for one in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                attributes = {one.key: _text(one.value) for one in span.attributes}
                found.append(
                    Received(
                        process["service.name"],
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
                        attributes,
                        f"{process} {span.name} {attributes} {span.trace_state} {span.status.message} "
                        f"{list(span.events)} {[list(link.attributes) for link in span.links]}",
                    )
                )
    return found


def _text(value: Any) -> str:
    return str(getattr(value, value.WhichOneof("value")))

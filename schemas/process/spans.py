"""Spans by OpenTelemetry, sent to a collector by OTLP over HTTP. Imported by nobody where there are none.

Never in a span: who it is about. No attribute names a school, a student, an owner or an address, and of an error only its
class is told, because a message may quote what somebody sent.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from schemas.process.facts import running_version
from schemas.tracing import TraceContext, TracingSettings, format_traceparent

logger = logging.getLogger(__name__)

_EXPORT_MS: Final = 1_000  # a trace can be looked at a second or two after it was made
_COLLECTOR_SECONDS: Final = 5.0
_LAST_SPANS_SECONDS: Final = 1.0  # at the end: a collector that is away must not keep a process from stopping

Attributes = Mapping[str, str | int]


class Spans:
    """Makes one process's spans. Begin them in one thread only.

    Args:
        service: what the process is called, as in ``scores-gateway``.
        percent: of how many traces that begin here there are spans; None: as the settings say.
    """

    def __init__(self, settings: TracingSettings, service: str, *, percent: int | None = None) -> None:
        self._ids = _ChosenIds()
        share = (settings.percent if percent is None else percent) / 100
        self._provider = TracerProvider(
            resource=Resource.create(
                {
                    "service.name": service,
                    "service.version": running_version(),
                    "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
                }
            ),
            sampler=ParentBased(TraceIdRatioBased(share)),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(f"{settings.endpoint}/v1/traces", timeout=_COLLECTOR_SECONDS)
        sending = BatchSpanProcessor(_TellsOnce(exporter), schedule_delay_millis=_EXPORT_MS)
        self._provider.add_span_processor(sending)
        self._tracer = self._provider.get_tracer("scores", running_version())

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        *,
        links: Iterable[TraceContext] = (),
        ids: TraceContext | None = None,
        trace_id: int | None = None,
        start_ns: int | None = None,
    ) -> Iterator[Span]:
        """A span around what is done, within the one around it.

        With ``ids``, or ``trace_id`` alone, it begins a trace and has these. ``start_ns`` is when it began, since 1970.
        """
        chosen = ids is not None or trace_id is not None
        self._ids.trace_id = ids.trace_id if ids is not None else trace_id
        self._ids.span_id = ids.span_id if ids is not None else None
        span = self._tracer.start_span(
            name,
            Context() if chosen else None,
            kind,
            attributes,
            [Link(_remote(one)) for one in links],
            start_ns,
        )
        self._ids.trace_id = self._ids.span_id = None
        token = context.attach(trace.set_span_in_context(span))
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            context.detach(token)
            span.end()

    def stop(self) -> None:
        """Send what there is, for a second at most. Blocks; call it off the event loop, or after it."""
        last = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(_LAST_SPANS_SECONDS)


def traceparent_of(span: Span) -> str | None:
    """The header that names a span; None for one that is not recorded, of which nobody else need record anything."""
    found = span.get_span_context()
    if not found.trace_flags.sampled:
        return None
    return format_traceparent(TraceContext(found.trace_id, found.span_id))


def _remote(one: TraceContext) -> SpanContext:
    return SpanContext(one.trace_id, one.span_id, is_remote=True, trace_flags=TraceFlags(one.sampled))


class _ChosenIds(RandomIdGenerator):
    """Random ids, but for the next span where some were chosen."""

    trace_id: int | None = None
    span_id: int | None = None

    def generate_trace_id(self) -> int:
        return super().generate_trace_id() if self.trace_id is None else self.trace_id

    def generate_span_id(self) -> int:
        return super().generate_span_id() if self.span_id is None else self.span_id


class _TellsOnce(SpanExporter):
    """Says when the collector goes and when it comes back; the library says it for every attempt."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self._exporter = exporter
        self._in_trouble = False
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._in_trouble:
            logger.warning(
                "the collector of traces takes none, they are dropped; SCORES_OTLP_ENDPOINT says where it is"
            )
        elif self._in_trouble and not failed:
            logger.info("the collector of traces takes them again")
        self._in_trouble = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]  # the library's has no types

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

"""The span of a webhook's attempt, and the header that lets its receiver go on with the trace. Only imported where there are traces."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.trace import SpanKind, StatusCode

from consumers.webhooks.attempting import Sends
from consumers.webhooks.sending import Answer
from schemas.process.spans import Spans, traceparent_of
from schemas.tracing import TRACEPARENT, webhook_trace
from schemas.webhooks.signing import ID_HEADER


class TracedSender:
    """Sends as another does, in a span. All attempts of one message are in one trace.

    Nothing tells whose endpoint it is: the host of a district's receiver names the district.
    """

    def __init__(self, sender: Sends, spans: Spans) -> None:
        self._sender = sender
        self._spans = spans

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        private: bool,
        want_header: str | None = None,
    ) -> Answer:
        """Post it; see ``Sends``."""
        with self._spans.span(
            "POST webhook",
            SpanKind.CLIENT,
            {"http.request.method": "POST", "http.request.body.size": len(body)},
            trace_id=webhook_trace(headers[ID_HEADER]),
        ) as span:
            parent = traceparent_of(span)
            named = headers if parent is None else {**headers, TRACEPARENT: parent}
            answer = await self._sender.send(url, named, body, private=private, want_header=want_header)
            if answer.status is not None:
                span.set_attribute("http.response.status_code", answer.status)
            if answer.status is None or answer.status >= 400:
                span.set_attribute("error.type", "no answer" if answer.status is None else str(answer.status))
                span.set_status(StatusCode.ERROR)
            return answer

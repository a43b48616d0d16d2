"""Where a gateway's traces are put in: nowhere, and at no cost, unless they are wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.middleware import Middleware

from gateway.ticking import TickEnded, nobody_told
from schemas.process.outgoing import EventPublisher
from schemas.tracing import TracingSettings


def _as_it_is(publisher: EventPublisher) -> EventPublisher:
    return publisher


def _nothing() -> None:
    return


@dataclass(frozen=True, slots=True)
class GatewayTracing:
    """What the application puts in its places; as it is made here, it changes nothing."""

    publisher: Callable[[EventPublisher], EventPublisher] = _as_it_is
    middleware: tuple[Middleware, ...] = ()
    tick_ended: TickEnded = nobody_told
    stop: Callable[[], None] = _nothing  # blocks for a second at most


def gateway_tracing(settings: TracingSettings) -> GatewayTracing:
    """As the settings have it."""
    if not settings.on:
        return GatewayTracing()
    from gateway.tracing import PushSpans, TracedImports, TracedPublisher  # costs a third of a second
    from schemas.process.spans import Spans

    spans = Spans(settings, "scores-gateway")
    return GatewayTracing(
        publisher=lambda publisher: TracedPublisher(publisher, spans),
        middleware=(Middleware(TracedImports, spans=spans),),
        tick_ended=PushSpans(spans).tick,
        stop=spans.stop,
    )

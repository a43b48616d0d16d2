"""The gateway's application: everything is wired here, and started and stopped in one lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from http import HTTPStatus

from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from gateway.audit.notes import Notes
from gateway.bursts import best_burst
from gateway.closing_routes import closing_routes
from gateway.commands import Commands, carry_out, new_node
from gateway.connections import Connections
from gateway.credentials import Credentials
from gateway.edge import Edge
from gateway.health import health_routes
from gateway.holders import Holder
from gateway.hub import Hub
from gateway.imports.reading import DocumentReader
from gateway.imports.routes import import_routes
from gateway.imports.service import ImportService
from gateway.imports.store import RedisImportStore
from gateway.issuers import trusted_issuers
from gateway.kafka import KafkaPublisher
from gateway.metrics import Metrics
from gateway.operations.reporting import Reporting
from gateway.operations.routes import operations_routes
from gateway.origins import cross_origin
from gateway.page_files import page_routes
from gateway.problems import problem_response
from gateway.public_routes import PublicView
from gateway.reassessing import close_revoked, reassess
from gateway.redis_connection import REDIS_AWAY, connect
from gateway.release_news import hear_of_releases
from gateway.releases.changing import ReleaseChanges
from gateway.releases.routes import release_routes
from gateway.revocation_log import RevocationLog
from gateway.revocation_routes import revocation_routes
from gateway.routes import api_routes
from gateway.service import Gateway
from gateway.settings import Settings
from gateway.stream_routes import stream_routes
from gateway.tables import Tables
from gateway.ticket_routes import ticket_routes
from gateway.tickets import Tickets
from gateway.tokens import Principal, TokenRefused, TokenVerifier
from gateway.trace_wiring import gateway_tracing
from gateway.webhooks.mounting import Webhooks
from schemas.access.permissions import Forbidden
from schemas.access.role_book import RoleBook
from schemas.assessments import AssessmentLookup, load_registry
from schemas.audit import AuditEvent, AuditKind, shortened
from schemas.errors import ScoreStreamError
from schemas.process.audit.keeping import AuditKeeping
from schemas.process.audit.writer import Audit
from schemas.pseudonyms import Pseudonymizer

logger = logging.getLogger(__name__)


def create_app(settings: Settings, *, assessments: AssessmentLookup | None = None) -> Starlette:
    """The application; nothing is connected before its lifespan starts.

    Raises:
        InvalidInput: the token issuer's keys or the roles file cannot be read.
    """
    metrics = Metrics()
    registry = load_registry()
    redis = connect(settings.redis_url, cluster=settings.redis_cluster)
    tables = Tables(redis, unlisted=settings.unlisted_release_state)
    roles = RoleBook(settings.roles_file)
    roles.load()
    production = settings.environment == "production"
    issuers, fetched_keys = trusted_issuers(settings.issuers, settings.key_times, production=production)
    revocations = RevocationLog(redis, away_seconds=settings.revocations_away_seconds)
    credentials = Credentials(TokenVerifier(issuers, roles=lambda: roles.current), revocations)
    burst = best_burst(settings.io_uring)
    tracing = gateway_tracing(settings.tracing)
    hub = Hub(
        tables,
        assessments or registry.at,
        metrics,
        tick_seconds=settings.tick_seconds,
        progress_seconds=settings.progress_seconds,
        burst=burst,
        tick_ended=tracing.tick_ended,
    )
    connections = Connections(settings.connections)

    def admitted(holder: Holder) -> Principal:
        return revocations.check(holder.principal(roles.current))

    node = new_node()
    audit = Audit(settings.audit, node, metrics.audit)
    notes = Notes(audit)
    carrying_out = notes.carrying_out(partial(carry_out, connections, settings.subscriptions, admitted))
    commands = Commands(redis, node, carrying_out)
    tickets = Tickets(redis, admitted, max_age_seconds=settings.streams.max_age_seconds)
    gateway = Gateway(
        settings,
        tables,
        hub,
        credentials,
        metrics,
        connections,
        commands,
        revocations,
        tickets,
        notes,
        roles,
    )
    roles.subscribe(notes.reassessing(partial(reassess, connections)))
    roles.subscribe(
        lambda _: gateway.audit.note(
            AuditEvent(kind=AuditKind.ROLES_CHANGED, detail=shortened(", ".join(roles.changed)))
        )
    )

    publisher = KafkaPublisher(settings.kafka, produce_seconds=settings.imports.produce_seconds)
    imports = ImportService(
        RedisImportStore(redis, settings.imports),
        tracing.publisher(publisher),
        Pseudonymizer(settings.student_key_secret.reveal()),
        DocumentReader(registry),
    )

    keeping = AuditKeeping(
        settings.audit,
        audit,
        KafkaPublisher(settings.kafka, client_id="scores-audit"),
        redis,
        metrics.audit,
        redis_away=REDIS_AWAY,
        before_end=notes.refusals.tell,
    )

    public = PublicView(settings.public, assessments or registry.at)
    webhooks = Webhooks(settings.webhooks, redis, revocations.known, lambda: roles.current, notes.audit)

    reporting = Reporting(redis, gateway)

    async def heard_revocations() -> None:
        await close_revoked(connections, revocations.known)
        webhooks.look_at_revoked()

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        publisher.start()
        await keeping.start()
        gateway.following = asyncio.create_task(hub.run(), name="the hub")
        gateway.following.add_done_callback(_report_the_end)
        background = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("listening for commands", commands.run()),
                ("hearing of release states", hear_of_releases(redis, hub.look)),
                ("reading the roles file", roles.run()),
                ("reading the revocations", revocations.run(heard_revocations)),
                ("looking at revoked webhooks", webhooks.run()),
                ("telling the monitor", reporting.run()),
                *(("fetching an issuer's keys", keys.run()) for keys in fetched_keys),
            )
        ]
        for task in background:
            task.add_done_callback(_report_the_end)
        try:
            yield
        finally:
            for task in (gateway.following, *background):
                task.cancel()
            await asyncio.wait({gateway.following, *background})
            await reporting.withdraw()
            await keeping.stop()
            await asyncio.to_thread(publisher.close)
            await asyncio.to_thread(tracing.stop)
            await redis.aclose()
            burst.close()

    app = Starlette(
        routes=[
            *api_routes(),
            *stream_routes(),
            *ticket_routes(),
            *revocation_routes(),
            *release_routes(ReleaseChanges(tables, publisher)),
            *closing_routes(redis, publisher, registry),
            *operations_routes(redis, settings.runbooks),
            *webhooks.routes,
            *import_routes(imports, gateway.credentials.by_header, settings.imports, notes),
            *(public.routes() if settings.public.is_open else ()),
            *health_routes(),
            *page_routes(),
        ],
        middleware=[
            Middleware(Edge, access_log=settings.access_log),
            *tracing.middleware,
            *cross_origin(settings.allowed_origins),
        ],
        exception_handlers={
            kind: _answering(metrics, notes)
            for kind in (ScoreStreamError, HTTPException, RedisError, Exception)
        },
        lifespan=lifespan,
    )
    app.state.gateway = gateway
    return app


def _answering(metrics: Metrics, notes: Notes) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, TokenRefused):
            metrics.denied.labels(error.reason).inc()
            notes.refused(request, HTTPStatus.UNAUTHORIZED, error.reason)
        elif isinstance(error, Forbidden):
            metrics.denied.labels("forbidden").inc()
            notes.refused(request, HTTPStatus.FORBIDDEN, "forbidden")
        return problem_response(error)

    return answer


def _report_the_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s has stopped; restart this process", task.get_name(), exc_info=task.exception())

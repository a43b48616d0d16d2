"""The gateway's application: everything is wired here, and started and stopped in one lifespan."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from gateway.commands import Commands, carry_out, new_node
from gateway.connections import Connections
from gateway.credentials import Credentials
from gateway.edge import Edge
from gateway.health import health_routes
from gateway.hub import Hub
from gateway.images import AssessmentLookup, Renderer
from gateway.imports.reading import DocumentReader
from gateway.imports.routes import import_routes
from gateway.imports.service import ImportService
from gateway.imports.store import RedisImportStore
from gateway.kafka import KafkaPublisher
from gateway.metrics import Metrics
from gateway.page_files import page_routes
from gateway.permissions import Forbidden
from gateway.problems import problem_response
from gateway.redis_connection import connect
from gateway.routes import api_routes
from gateway.service import Gateway
from gateway.settings import Settings
from gateway.stream_routes import stream_routes
from gateway.tables import Tables
from gateway.tokens import TokenRefused, TokenVerifier
from schemas.assessments import load_registry
from schemas.errors import ScoreStreamError
from schemas.pseudonyms import Pseudonymizer

logger = logging.getLogger(__name__)


def create_app(settings: Settings, *, assessments: AssessmentLookup | None = None) -> Starlette:
    """The application; nothing is connected before its lifespan starts.

    Raises:
        InvalidInput: the token issuer's keys cannot be read.
    """
    metrics = Metrics()
    registry = load_registry()
    redis = connect(settings.redis_url, cluster=settings.redis_cluster)
    tables = Tables(redis)
    verifier = TokenVerifier(
        settings.jwks_file,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        algorithms=settings.token_algorithms,
    )
    verifier.load()
    hub = Hub(
        tables,
        Renderer(assessments or registry.at),
        metrics,
        tick_seconds=settings.tick_seconds,
        progress_seconds=settings.progress_seconds,
    )
    connections = Connections(settings.connections)
    commands = Commands(redis, new_node(), partial(carry_out, connections, settings.subscriptions))
    gateway = Gateway(settings, tables, hub, Credentials(verifier), metrics, connections, commands)

    publisher = KafkaPublisher(settings.kafka, produce_seconds=settings.imports.produce_seconds)
    imports = ImportService(
        RedisImportStore(redis, settings.imports),
        publisher,
        Pseudonymizer(settings.student_key_secret.reveal()),
        DocumentReader(registry),
    )

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        publisher.start()
        gateway.following = asyncio.create_task(hub.run(), name="the hub")
        gateway.following.add_done_callback(_report_the_end)
        listening = asyncio.create_task(commands.run(), name="listening for commands")
        listening.add_done_callback(_report_the_end)
        try:
            yield
        finally:
            gateway.following.cancel()
            listening.cancel()
            await asyncio.wait({gateway.following, listening})
            await asyncio.to_thread(publisher.close)
            await redis.aclose()

    app = Starlette(
        routes=[
            *api_routes(),
            *stream_routes(),
            *import_routes(imports, gateway.credentials.by_header, settings.imports),
            *health_routes(),
            *page_routes(),
        ],
        middleware=[Middleware(Edge, access_log=settings.access_log)],
        exception_handlers={
            kind: _answering(metrics) for kind in (ScoreStreamError, HTTPException, RedisError, Exception)
        },
        lifespan=lifespan,
    )
    app.state.gateway = gateway
    return app


def _answering(metrics: Metrics) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, TokenRefused):
            metrics.denied.labels(error.reason).inc()
        elif isinstance(error, Forbidden):
            metrics.denied.labels("forbidden").inc()
        return problem_response(error)

    return answer


def _report_the_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("%s has stopped; restart this process", task.get_name(), exc_info=task.exception())

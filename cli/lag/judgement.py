"""How things are, for commands: the monitor's judgement, or one of their own samples."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cli.state import StateFolder
from cli.stores import is_cluster
from consumers.lag.looking import Look
from consumers.lag.monitor import Sampling
from consumers.lag.sampling import Sampler
from consumers.webhooks.connection import connect
from schemas.errors import InvalidInput
from schemas.operations import Judgement


def current_judgement(kafka: str | None, redis: str | None, *, say: Callable[[str], None]) -> Judgement:
    """How things are now; ``say`` is told, in a sentence, when nobody monitors.

    Args:
        kafka, redis: addresses as given; None: those of the running local stack.

    Raises:
        InvalidInput: there is no address, or it is none.
        DependencyUnavailable: Redis does not answer.
    """

    async def look() -> Judgement:
        async with opened_look(kafka, redis, say=say) as look:
            return await look.now()

    return asyncio.run(look())


@asynccontextmanager
async def opened_look(
    kafka: str | None, redis: str | None, *, say: Callable[[str], None]
) -> AsyncIterator[Look]:
    """To look more than once; see ``current_judgement``."""
    state = StateFolder()
    url = state.address(redis, "redis_url", "--redis URL")
    client = connect(url, cluster=is_cluster(url))
    running = state.running()
    brokers = kafka or (running.kafka if running is not None else None)

    def open_sampler() -> Sampling:
        if brokers is None:
            raise InvalidInput("nobody monitors, and no Kafka to look at is known; give --kafka HOST:PORT")
        return Sampler(
            brokers,
            client,
            streams_group=os.environ.get("SCORES_STREAMS_GROUP", "score-streams"),
            webhooks_group=os.environ.get("SCORES_WEBHOOKS_GROUP", "webhooks"),
        )

    look = Look(client, open_sampler, say=say)
    try:
        yield look
    finally:
        await look.close()
        await client.aclose()

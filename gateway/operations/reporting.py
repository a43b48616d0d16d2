"""This gateway tells the monitor how it does: an entry in Redis, renewed every ten seconds, and gone when it stops in good order."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Final

from gateway.following import TablesState
from gateway.redis_connection import REDIS_AWAY, RedisClient
from gateway.service import Gateway
from schemas.operations import PARTS, PartReport, Verdict, encode_operations

_EVERY_SECONDS: Final = 10.0  # the monitor takes a part that was silent for a minute for stopped
_UNREADY_SECONDS: Final = 1.0  # until it is ready, so that what was said at its start is not said for long
_FAREWELL_SECONDS: Final = 0.5


class Reporting:
    """Tells of one gateway.

    Its name is its host and port and not its node: after a crash it tells of itself under the same name, and is not missed for ever.
    """

    def __init__(
        self, redis: RedisClient, gateway: Gateway, *, every_seconds: float = _EVERY_SECONDS
    ) -> None:
        self.name = f"gateways:{socket.gethostname()}:{gateway.settings.port}"
        self._redis = redis
        self._gateway = gateway
        self._every_seconds = every_seconds

    async def run(self) -> None:
        """Tell again and again, until cancelled."""
        while True:
            ready = False
            if not self._gateway.draining:
                with contextlib.suppress(*REDIS_AWAY):  # the monitor notices that by itself
                    report = await self.report()
                    await self._redis.hset(PARTS, self.name, encode_operations(report))
                    ready = report.verdict is Verdict.OK
            await asyncio.sleep(self._every_seconds if ready else _UNREADY_SECONDS)

    async def report(self) -> PartReport:
        """How it does now."""
        gateway = self._gateway
        reasons = await gateway.unready()
        # While it starts nothing can be told; afterwards each reason keeps somebody from results.
        starting = gateway.alive() and gateway.hub.state is TablesState.WARMING
        return PartReport(
            name=self.name,
            verdict=Verdict.OK if not reasons else Verdict.INCOMPLETE if starting else Verdict.STALL,
            detail="; ".join(reasons),
            figures={
                "connections": float(len(gateway.connections)),
                "most_connections": float(gateway.settings.connections.per_node),
            },
            at_ms=time.time_ns() // 1_000_000,
        )

    async def withdraw(self) -> None:
        """It stops, and is not to be missed."""
        with contextlib.suppress(TimeoutError, *REDIS_AWAY):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self._redis.hdel(PARTS, self.name)

"""The stateful machine on a real server, with the real scripts."""

from __future__ import annotations

import pytest
import redis.asyncio
import stack
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from simulation.backends import Backend, RedisBackend
from simulation.machine import EngineMachine


@pytest.mark.parametrize("kind", ["embedded", "system"])
def test_whatever_happens_next_the_tables_in_redis_equal_a_recount_of_their_log(kind: str) -> None:
    with stack.store(kind) as server:

        class OnRedis(EngineMachine):
            async def open(self) -> Backend:
                self.client = redis.asyncio.Redis.from_url(server.url)
                await self.client.flushall()
                return RedisBackend(self.client)

            async def close(self) -> None:
                await self.client.aclose()

        run_state_machine_as_test(
            OnRedis,
            settings=settings(
                max_examples=6,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )

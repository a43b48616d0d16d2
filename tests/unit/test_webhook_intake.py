"""The intake of the webhook worker: what it does beside reading does not hold up the reading."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from consumers.webhooks.intake import Intake
from consumers.webhooks.metrics import WorkerMetrics
from consumers.webhooks.outbox import ReignEnded
from consumers.webhooks.topic_feed import ChangeRecord

_PARTITIONS = {"aggregate-changes.v1": 4}
_BATCHES = 20
_HANGS_SECONDS = 30.0


class _Feed:
    """Topics without records, in which ``descriptions`` are found one after the other, the last one for ever."""

    def __init__(self, *descriptions: tuple[str, Mapping[str, int]]) -> None:
        self._descriptions = list(descriptions)
        self.held = asyncio.Event()
        self.held.set()
        self.asked = asyncio.Event()  # while ``held`` is not set
        self.closed = False
        self._batches = asyncio.Semaphore(0)

    async def describe(self) -> tuple[str, Mapping[str, int]]:
        if not self.held.is_set():
            self.asked.set()
        await self.held.wait()
        return self._descriptions.pop(0) if len(self._descriptions) > 1 else self._descriptions[0]

    async def open(self, positions: object, partitions: Mapping[str, int]) -> None: ...

    async def batch(self) -> Sequence[ChangeRecord]:
        self._batches.release()
        await asyncio.sleep(0)
        return ()

    async def read_on(self) -> None:
        """Until some more batches were asked for."""
        self._batches = asyncio.Semaphore(0)
        for _ in range(_BATCHES):
            await self._batches.acquire()

    async def lag(self, positions: object) -> int:
        return 0

    async def close(self) -> None:
        self.closed = True


async def _write(commands: object) -> None: ...


def _intake(feed: _Feed) -> Intake:
    store: Any = SimpleNamespace(endpoints={}, log_identity="", positions={}, write=_write)
    return Intake(
        store, cast(Any, feed), cast(Any, None), WorkerMetrics(CollectorRegistry()), again_seconds=0.0
    )


def test_changes_are_read_on_while_kafka_takes_its_time_to_say_what_its_topics_are() -> None:
    async def scenario() -> None:
        feed = _Feed(("log", _PARTITIONS))
        running = asyncio.create_task(_intake(feed).run())
        await feed.read_on()
        feed.held.clear()
        await feed.asked.wait()
        await feed.read_on()
        assert not running.done()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert feed.closed

    asyncio.run(asyncio.wait_for(scenario(), _HANGS_SECONDS))


@pytest.mark.parametrize("changed", [("another log", _PARTITIONS), ("log", {"aggregate-changes.v1": 8})])
def test_topics_that_are_others_end_the_reign(changed: tuple[str, Mapping[str, int]]) -> None:
    async def scenario() -> None:
        feed = _Feed(("log", _PARTITIONS), ("log", _PARTITIONS), changed)
        with pytest.RaisesGroup(ReignEnded):
            await _intake(feed).run()
        assert feed.closed

    asyncio.run(asyncio.wait_for(scenario(), _HANGS_SECONDS))

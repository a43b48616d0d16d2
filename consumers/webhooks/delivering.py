"""Takes messages that are due, and begins an attempt with each: as many at once as there is room for.

Which endpoint may have how much under way is decided in ``consumers.webhooks.slots`` and ``allowance``, the order of an
organization's messages is kept by ``lanes``, and one attempt is made by ``attempting``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

from consumers.webhooks import orders
from consumers.webhooks.allowance import Allowances
from consumers.webhooks.attempting import Attempting, Sends, Signs
from consumers.webhooks.care import Care
from consumers.webhooks.delivery_metrics import DeliveryMetrics
from consumers.webhooks.delivery_settings import DeliverySettings
from consumers.webhooks.disclosures import Disclosures
from consumers.webhooks.following_up import FollowUp
from consumers.webhooks.lanes import Lane, Lanes
from consumers.webhooks.outbox import Outbox, ReignEnded
from consumers.webhooks.outcomes import half_open
from consumers.webhooks.slots import Flight, Slots
from schemas.process.waiting import wait_at_most
from schemas.webhooks.endpoints import Endpoint, EventType
from schemas.webhooks.messages import Message, Order

_AT_ONCE: Final = 256  # messages handed out in one go; other tasks run in between
_LONGEST_WAIT_SECONDS: Final = (
    60.0  # with nothing to do; it only bounds how long a mistake of ours could last
)
_SHORTEST_WAIT_SECONDS: Final = 0.005
_PRUNE_MS: Final = 60_000  # looks at every lane in which something failed: too much for every turn


class Delivery:
    """Delivers for one reign.

    Args:
        confirmation: the token by which an endpoint's address says that it wants webhooks.
        base_url: of the gateway, as owners reach it.
        allow_private: the deployment lets endpoints be in private networks.
    """

    def __init__(
        self,
        outbox: Outbox,
        sender: Sends,
        signer: Signs,
        settings: DeliverySettings,
        metrics: DeliveryMetrics,
        disclosures: Disclosures,
        *,
        confirmation: Callable[[Endpoint], str],
        base_url: str,
        allow_private: bool,
        clock_ms: Callable[[], int],
        rng: Random,
    ) -> None:
        self._outbox = outbox
        self._signer = signer
        self._settings = settings
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._slots = Slots(settings.slots, int(1000 * settings.slow_seconds))
        self._lanes = Lanes()
        self._prune_ms = 0
        self._allowances = Allowances()
        self._asked: set[str] = set()  # endpoints that were given room in this round
        self._denied: list[str] = []  # those that wanted more in the same round
        self._later: dict[str, int] = {}  # endpoints whose allowance is used up, until when
        self._landed = asyncio.Event()
        self._under_way: set[str] = set()
        self._care = Care(
            outbox, metrics, confirmation=confirmation, base_url=base_url, under_way=self._under_way
        )
        follow_up = FollowUp(
            outbox,
            self._care,
            self._lanes,
            self._allowances,
            settings.rules,
            metrics,
            clock_ms=clock_ms,
            rng=rng,
        )
        self._attempting = Attempting(
            outbox,
            sender,
            signer,
            self._care,
            self._lanes,
            self._allowances,
            metrics,
            follow_up,
            disclosures,
            allow_private=allow_private,
            under_way=self._under_way,
            clock_ms=clock_ms,
        )

    async def run(self) -> None:
        """Deliver until cancelled.

        Raises:
            ReignEnded: another worker delivers, or Redis lost what was written.
        """
        try:
            async with asyncio.TaskGroup() as attempts:
                while True:
                    await self._hand_out(attempts)
        except BaseExceptionGroup as group:
            ended, _ = group.split(ReignEnded)
            if ended is None:
                raise
            raise ReignEnded(
                "the attempts under way were given up; the next reign makes them again"
            ) from group

    async def carry_out(self, order: Order, order_id: str) -> None:
        """Do what an owner asks for by way of the gateway; ``order_id`` is the entry's in the stream."""
        await orders.carry_out(order, order_id, self._outbox, self._care, self._clock_ms())

    async def endpoint_changed(self, endpoint_id: str) -> None:
        """An endpoint is new, or is another than it was, or is no more."""
        endpoint = self._outbox.endpoints.get(endpoint_id)
        if endpoint is None:
            self._allowances.forget(endpoint_id)
            self._slots.forget(endpoint_id)
            self._signer.forget(endpoint_id)
            return
        if endpoint.revoked_ms is not None:
            await self._care.revoke(endpoint, self._clock_ms())
            return
        if self._outbox.state(endpoint_id).disabled is None:
            at_ms = endpoint.updated_ms or endpoint.created_ms
            await self._care.ask(endpoint, at_ms=at_ms, now_ms=self._clock_ms())
            self._outbox.ready(endpoint_id)

    async def _hand_out(self, attempts: asyncio.TaskGroup) -> None:
        """Begin as many attempts as may begin, or wait until some may."""
        now_ms = self._clock_ms()
        self._slots.sweep(now_ms)
        quick, slow = self._slots.under_way
        self._metrics.under_way.labels("quick").set(quick)
        self._metrics.under_way.labels("slow").set(slow)
        if not self._slots.free:
            await self._wait_for_slot()
            return
        for endpoint in self._slots.woken():
            self._outbox.ready(endpoint)
        self._slots.begin_round()
        self._asked.clear()
        messages = await self._outbox.due(now_ms, min(self._slots.free, _AT_ONCE), self._room)
        for endpoint, at_ms in self._later.items():
            self._outbox.ready(endpoint, at_ms)
        self._later.clear()
        for message in messages:
            flight = self._slots.begin(message.endpoint, now_ms)
            self._under_way.add(message.id)
            attempts.create_task(self._fly(message, flight))
        for endpoint in self._denied:
            # What it was given room for may be kept no longer: then no attempt's end makes it ready.
            if not self._slots.of(endpoint):
                self._outbox.ready(endpoint)
        self._denied.clear()
        if messages:
            await asyncio.sleep(0)
            return
        if now_ms >= self._prune_ms:
            self._prune_ms = now_ms + _PRUNE_MS
            self._lanes.prune(now_ms)
        due_ms = self._outbox.next_due_ms()
        wait = _LONGEST_WAIT_SECONDS if due_ms is None else (due_ms - now_ms) / 1000
        await self._outbox.wait_due(min(max(wait, _SHORTEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS))

    async def _wait_for_slot(self) -> None:
        """Until an attempt ends, or has gone on for so long that it is a slow one."""
        self._landed.clear()
        await wait_at_most(self._landed, self._settings.slow_seconds / 4)

    def _room(self, endpoint_id: str) -> int:
        """How many more messages an endpoint may be sent now; without room, something calls ``ready`` for it later."""
        endpoint = self._outbox.endpoints.get(endpoint_id)
        if endpoint is None:
            return 0
        if endpoint_id in self._asked:
            self._denied.append(endpoint_id)
            return 0
        now_ms = self._clock_ms()
        allowance = self._allowances.of(endpoint, now_ms)
        allowed = allowance.available(endpoint.rate, now_ms)
        if not allowed:
            self._later[endpoint_id] = allowance.next_ms(endpoint.rate, now_ms)
            return 0
        if half_open(self._outbox.state(endpoint_id), self._settings.rules):
            allowed = max(0, 1 - self._slots.of(endpoint_id))
        granted = min(allowed, self._slots.room(endpoint_id)) if allowed else 0
        if granted:
            self._asked.add(endpoint_id)
        return granted

    async def _fly(self, message: Message, flight: Flight) -> None:
        """One message's turn, whatever becomes of it. Cancelled, it is not written, and made again some day."""
        took_ms: int | None = None
        lane: Lane | None = None
        try:
            if message.type is not EventType.ENDPOINT_PING:  # of no organization, and never in a hurry
                lane = await self._lanes.enter(message)
            took_ms = await self._attempting.turn(message, lane)
        finally:
            if lane is not None:
                self._lanes.leave(lane)
            self._under_way.discard(message.id)
            self._slots.end(flight, took_ms)
            self._landed.set()
            self._outbox.ready(message.endpoint)

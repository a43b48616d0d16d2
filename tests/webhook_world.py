"""A delivering worker on simulated time, its store, and the receivers it delivers to."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

from fake_outbox import MemoryOutbox, Stored
from fake_receivers import Receiver, Receivers, Unsigned
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from simulated_time import SimulatedTime

from consumers.webhooks.delivering import Delivery
from consumers.webhooks.delivery_metrics import DeliveryMetrics
from consumers.webhooks.delivery_settings import DeliverySettings
from consumers.webhooks.disclosures import Disclosures
from schemas.access.permissions import VisibilityClass
from schemas.identifiers import OrganizationId
from schemas.process.audit.auditor import NoAudit
from schemas.webhooks.endpoints import Endpoint, EndpointState, Followed
from schemas.webhooks.messages import Order

SCHOOL = OrganizationId("19990010000101")
OTHER_SCHOOL = OrganizationId("19990010000102")

_T = TypeVar("_T")


class World:
    """Everything a test needs; ``with World() as world`` ends it."""

    def __init__(self, settings: DeliverySettings | None = None) -> None:
        self.loop = SimulatedTime()
        self.receivers = Receivers(self.loop.now_ms)
        self.stored = Stored()
        self.settings = DeliverySettings() if settings is None else settings
        self.registry = CollectorRegistry()
        self._metrics = DeliveryMetrics(self.registry)
        self.audit = NoAudit()
        self._orders = 0
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self.loop.close()

    def endpoint(self, name: str, *, confirmed: bool = True, **wishes: Any) -> Receiver:
        """An endpoint ``name`` and its receiver at the address ``https://<name>.example``."""
        url = f"https://{name}.example"
        made = Endpoint(
            id=name,
            url=url,
            subject=wishes.pop("subject", "clerk"),
            grants=(),
            follows=(Followed(SCHOOL),),
            updated_ms=self.loop.now_ms(),
            **wishes,
        )
        if confirmed:
            state = EndpointState(confirmed_ms=self.loop.now_ms(), confirmed_url=url)
            self.run(self.outbox.set_state(name, state))
        self.receivers.of[url] = receiver = Receiver()
        self.outbox.keep(made)
        self.run(self.delivery.endpoint_changed(name))
        return receiver

    def change_endpoint(self, name: str, **changes: Any) -> None:
        """Its owner wants it otherwise."""
        changed = replace(self.stored.endpoints[name], updated_ms=self.loop.now_ms(), **changes)
        self.receivers.of.setdefault(changed.url, Receiver())
        self.outbox.keep(changed)
        self.run(self.delivery.endpoint_changed(name))

    def order(self, kind: Any, endpoint: str, **details: Any) -> None:
        """Its owner asks for something."""
        self._orders += 1
        order = Order(kind=kind, endpoint=endpoint, **details)
        self.run(self.delivery.carry_out(order, f"{self.loop.now_ms()}-{self._orders}"))
        self._check()

    def change(self, endpoint: str, school: OrganizationId = SCHOOL) -> None:
        """Results of a school that the endpoint follows have changed."""
        self.outbox.change(endpoint, school)

    def _visibility(self, endpoint: Endpoint, organization: OrganizationId) -> VisibilityClass | None:
        return None if endpoint.id in self.stored.hidden else VisibilityClass.EXACT_LOADING

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass. A worker that failed fails the test."""
        self.loop.pass_seconds(seconds)
        self._check()

    def crash(self) -> None:
        """kill -9, and another worker goes on from what is stored."""
        self._stop()
        self._start()

    def state(self, endpoint: str) -> EndpointState:
        return self.outbox.state(endpoint)

    def count(self, metric: str, **labels: str) -> float:
        return self.registry.get_sample_value(metric, labels) or 0.0

    def run(self, doing: Coroutine[Any, Any, _T]) -> _T:
        return self.loop.run_until_complete(doing)

    def _check(self) -> None:
        if self._delivering.done():
            self._delivering.result()

    def _start(self) -> None:
        self.outbox = MemoryOutbox(self.stored, self.loop.now_ms)
        self.delivery = Delivery(
            self.outbox,
            self.receivers,
            Unsigned(),
            self.settings,
            self._metrics,
            Disclosures(self.audit, self._visibility),
            confirmation=lambda endpoint: f"token of {endpoint.id} at {endpoint.url}",
            base_url="https://scores.example",
            allow_private=False,
            clock_ms=self.loop.now_ms,
            rng=Random("deliveries"),
        )
        self._delivering = self.loop.create_task(self.delivery.run())
        for endpoint in list(self.stored.endpoints):
            self.run(self.delivery.endpoint_changed(endpoint))

    def _stop(self) -> None:
        self._delivering.cancel()
        self.run(asyncio.wait([self._delivering]))  # type: ignore[arg-type]  # its results are two sets

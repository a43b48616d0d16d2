"""Making, changing and deleting endpoints: judged, noted in the audit, then stored.

Guarantee: *nothing that is not in the audit.* The entry is on disk before the endpoint is stored; when Redis does not answer
then, it may have been stored all the same.

An endpoint is told in the name of whoever changed it last, with the rights of then: so whoever looks after somebody else's and
changes what it is told, or where, is told no more than they may see themselves. Pausing, deleting and sending again leave it
its owner's.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal, Protocol

from msgspec import UNSET

from gateway.tokens import Principal
from gateway.webhooks.answers import IssuedSecret
from gateway.webhooks.finding import NoSuchEndpoint, existing, if_still_seen
from gateway.webhooks.permitted import check_follows, events_for, is_owner
from gateway.webhooks.room import NotNow, Room
from gateway.webhooks.secret_keeping import SecretKeeper
from gateway.webhooks.settings import WebhookSettings
from gateway.webhooks.store import EndpointStore, Given
from gateway.webhooks.wanted import (
    EndpointChange,
    NewEndpoint,
    Rotation,
    altered,
    asked_fields,
    check_address,
    granted_by,
)
from schemas.audit import AuditKind, shortened
from schemas.environment import Secret
from schemas.organization_list import OrganizationList
from schemas.webhooks.addresses import check_url
from schemas.webhooks.endpoints import Endpoint, SecretKind
from schemas.webhooks.ids import endpoint_id
from schemas.webhooks.messages import Order
from schemas.webhooks.secrets import in_force


class Note(Protocol):
    """Notes a change; returns when that is written."""

    async def __call__(
        self, kind: AuditKind, endpoint: Endpoint, detail: str, *, before: Endpoint | None = None
    ) -> None:
        """``before``: as it was, where the change hands it over."""


OrderKind = Literal["ping", "enable", "replay", "recover", "retry_dead"]

_ID_BYTES: Final = 16
_USUAL_KINDS: Final[tuple[SecretKind, ...]] = ("v1",)  # what every receiver's library knows


class EndpointKeeper:
    """Changes the endpoints of a deployment, for whoever may, and orders what their deliveries need."""

    def __init__(
        self,
        store: EndpointStore,
        settings: WebhookSettings,
        key: Secret,
        *,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.store = store
        self.clock_ms = clock_ms
        self._room = Room(settings)
        self._allow_private = settings.deployment.allow_private
        self._secrets = SecretKeeper(key, overlap_seconds=settings.overlap_seconds)

    async def create(
        self, principal: Principal, order: NewEndpoint, known: OrganizationList, note: Note
    ) -> tuple[Endpoint, tuple[IssuedSecret, ...]]:
        """A new endpoint, and its secrets, which are not shown again.

        Raises:
            InvalidInput: something that is asked for is not of its form.
            Forbidden: it may not follow this.
            NotNow: there are too many.
        """
        now_ms = self.clock_ms()
        fields = asked_fields(order)
        fields.setdefault("events", events_for(principal.rights, fields["follows"]))
        new_id = endpoint_id(secrets.token_bytes(_ID_BYTES))
        kinds = _USUAL_KINDS if order.signing is UNSET else order.signing
        sealed, issued = self._secrets.issue(new_id, kinds, now_ms)
        endpoint = Endpoint(
            id=new_id,
            secrets=sealed,
            created_ms=now_ms,
            updated_ms=now_ms,
            **fields,
            **granted_by(principal),
        )
        self._check(principal, endpoint, known)
        self._room.check(principal, await self.store.all())
        await note(
            AuditKind.WEBHOOK_CREATED, endpoint, check_url(endpoint.url, endpoint.private_network).origin
        )
        confirm = Order(kind="confirm", endpoint=new_id, by=principal.subject)
        await self.store.add(endpoint, partial(self._room.check, principal), confirm)
        return endpoint, issued

    async def change(
        self,
        principal: Principal,
        found: Endpoint,
        order: EndpointChange,
        known: OrganizationList,
        note: Note,
    ) -> Endpoint:
        """The endpoint as it is after the change, in the name of whoever made it.

        Raises:
            InvalidInput, Forbidden, NotNow: as in ``create``; also when ``revision`` is not the latest any more.
            NoSuchEndpoint: it has been deleted meanwhile.
        """
        fields = asked_fields(order)

        def made(endpoint: Endpoint) -> tuple[Endpoint, Order]:
            if order.revision not in (UNSET, endpoint.revision):
                raise NotNow(
                    f"The endpoint's revision is {endpoint.revision}, not {order.revision}: somebody has changed it. Read it "
                    "again."
                )
            after = altered(endpoint, self.clock_ms(), **fields, **granted_by(principal))
            self._check(principal, after, known)
            kind: Literal["confirm", "changed"] = "changed" if after.url == endpoint.url else "confirm"
            return after, Order(kind=kind, endpoint=endpoint.id, by=principal.subject)

        after, _ = made(found)
        detail = ", ".join(fields)
        if "url" in fields:
            detail += f": {check_url(after.url, after.private_network).origin}"
        own = is_owner(principal, found)
        if not own:
            detail += f"; taken over from {shortened(found.subject)}"
        await note(AuditKind.WEBHOOK_CHANGED, after, detail, before=found)
        room = None if own else partial(self._room.check_own, principal)
        return existing(await self.store.change(found.id, if_still_seen(principal, made), room))

    async def pause(self, principal: Principal, found: Endpoint, note: Note, *, paused: bool) -> Endpoint:
        """The endpoint, paused or not."""
        if found.paused == paused:
            return found
        await note(AuditKind.WEBHOOK_CHANGED, found, "paused" if paused else "resumed")
        made = if_still_seen(principal, self._altering(principal, paused=paused))
        return existing(await self.store.change(found.id, made))

    async def delete(self, principal: Principal, found: Endpoint, note: Note) -> None:
        """Forget an endpoint; the delivering worker then forgets its messages."""
        await note(AuditKind.WEBHOOK_DELETED, found, "")
        order = Order(kind="changed", endpoint=found.id, by=principal.subject)
        await self.store.change(found.id, if_still_seen(principal, lambda _: (None, order)))

    async def rotate(
        self, principal: Principal, found: Endpoint, order: Rotation, note: Note
    ) -> tuple[Endpoint, tuple[IssuedSecret, ...]]:
        """The endpoint with new secrets, and these.

        Raises:
            InvalidInput: the kinds are not what they should be.
            TooManySecrets: too many of before still sign.
        """
        now_ms = self.clock_ms()
        of_now = tuple(dict.fromkeys(one.kind for one in found.secrets if one.until_ms is None))
        sealed, issued = self._secrets.issue(found.id, order.signing or of_now or _USUAL_KINDS, now_ms)

        def made(endpoint: Endpoint) -> tuple[Endpoint, Order]:
            kept = self._secrets.succeeded(endpoint.secrets, sealed, now_ms, at_once=order.at_once)
            return self._altering(principal, secrets=kept)(endpoint)

        after, _ = made(found)
        detail = f"{len(in_force(after.secrets, now_ms))} in force" + (", at once" if order.at_once else "")
        await note(AuditKind.WEBHOOK_SECRET_ROTATED, found, detail)
        return existing(await self.store.change(found.id, if_still_seen(principal, made))), issued

    async def enable(
        self, principal: Principal, found: Endpoint, known: OrganizationList, note: Note
    ) -> Given:
        """Let it be delivered to again; after a revocation in the name of whoever does this.

        Raises:
            Forbidden: their rights do not show what it follows.
        """
        if found.revoked_ms is not None:
            self._check(principal, found, known)
        return await self.order(principal, found, note, "enable", clear=found.revoked_ms is not None)

    async def order(
        self,
        principal: Principal,
        found: Endpoint,
        note: Note,
        kind: OrderKind,
        *,
        message: str = "",
        since_ms: int | None = None,
        clear: bool = False,
    ) -> Given:
        """Ask something of the delivering worker."""
        await note(AuditKind.WEBHOOK_ORDERED, found, f"{kind} {message}".strip())
        if clear:
            made = if_still_seen(principal, self._altering(principal, **granted_by(principal)))
            existing(await self.store.change(found.id, made))
        given = await self.store.order(
            Order(kind=kind, endpoint=found.id, message=message, since_ms=since_ms, by=principal.subject)
        )
        if given is None:
            raise NoSuchEndpoint
        return given

    def _altering(self, principal: Principal, **fields: Any) -> Callable[[Endpoint], tuple[Endpoint, Order]]:
        def made(endpoint: Endpoint) -> tuple[Endpoint, Order]:
            order = Order(kind="changed", endpoint=endpoint.id, by=principal.subject)
            return altered(endpoint, self.clock_ms(), **fields), order

        return made

    def _check(self, principal: Principal, endpoint: Endpoint, known: OrganizationList) -> None:
        check_follows(principal.rights, endpoint.follows, endpoint.events, known)
        check_address(endpoint, allow_private=self._allow_private)

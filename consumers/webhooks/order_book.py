"""Orders of the gateway, carried out one after the other; each at least once."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from consumers.webhooks.reign import command
from consumers.webhooks.store import Store
from schemas.webhooks import keys
from schemas.webhooks.messages import Order, decode_order

logger = logging.getLogger(__name__)

_WAIT_MS: Final = 500  # and so soon a changed endpoint is noticed that no order came with
_AT_ONCE: Final = 100


class OrderBook:
    """Reads orders, and endpoints, for those may have changed with any."""

    def __init__(
        self,
        store: Store,
        carry_out: Callable[[Order, str], Awaitable[None]],
        endpoints_changed: Callable[[set[str]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._carry_out = carry_out
        self._endpoints_changed = endpoints_changed

    async def run(self) -> None:
        """Carry out what comes, until cancelled.

        Raises:
            ReignEnded: this worker delivers no longer.
        """
        while True:
            await self.round(_WAIT_MS)

    async def round(self, wait_ms: int) -> None:
        """Carry out what has come; waits for something for so long."""
        reply: Any = await self._store.redis.xread(
            {keys.ORDERS: self._store.order}, count=_AT_ONCE, block=wait_ms
        )
        changed = await self._store.look_at_endpoints()
        if changed:
            await self._endpoints_changed(changed)
        entries = reply[0][1] if reply else ()
        for name, fields in entries:
            try:
                order = decode_order(fields[keys.ORDER_FIELD])
            except (msgspec.MsgspecError, KeyError):
                logger.error("an order cannot be read, it is passed over order=%s", name.decode())
            else:
                await self._carry_out(order, name.decode())
        if entries:
            # Those before this one are needed no more; it itself stays, so that its number is not given again.
            done = self._store.order = entries[-1][0]
            await self._store.write(
                [
                    command("HSET", keys.WORKER, "order", done),
                    command("XTRIM", keys.ORDERS, "MINID", done),
                ]
            )

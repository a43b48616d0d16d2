"""Sending to Redis so that whoever is cancelled ends; mixed into the connection classes of redis-py's asyncio client.

redis-py sends under ``asyncio.wait_for``, which before Python 3.12 swallows a cancellation that arrives just as the sending
ends: the cancelled task goes on, and whoever waits for its end waits for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any


class SendsCancellably:
    """A connection whose ``send_packed_command`` may be cancelled at any moment."""

    socket_timeout: float | None

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """Send, within ``socket_timeout`` seconds.

        Raises:
            TimeoutError: the server took nothing for that long.
        """
        timeout, self.socket_timeout = self.socket_timeout, None  # or the parent would set one in its way
        try:
            async with asyncio.timeout(timeout):
                await super().send_packed_command(command, check_health)  # type: ignore[misc]  # of redis-py's class
        finally:
            self.socket_timeout = timeout


def use_connections(client: Any, ours: Mapping[Any, Any]) -> None:
    """Let a client, of one server or of a cluster, make connections of the classes that ``ours`` has for redis-py's.

    They are no arguments of redis-py's: the URL decides between plain and encrypted.
    """
    pool = getattr(client, "connection_pool", None)
    if pool is not None:
        pool.connection_class = ours.get(pool.connection_class, pool.connection_class)
        return
    kind = ours[client.connection_kwargs["connection_class"]]
    client.connection_kwargs["connection_class"] = kind  # for nodes that are found later
    for node in client.startup_nodes:
        node.connection_class = kind

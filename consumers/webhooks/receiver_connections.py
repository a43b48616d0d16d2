"""Connections to receivers: made to judged addresses, and kept for a moment in case that another message follows."""

from __future__ import annotations

import asyncio
import ssl
from ipaddress import ip_address
from typing import Final

from consumers.webhooks.answers import Limits
from consumers.webhooks.exchange import Exchange
from schemas.errors import ScoreStreamError
from schemas.webhooks.addresses import Target

_ADDRESSES: Final = 4  # of one name that are tried; a list of hundreds is no help to anybody


class NotConnected(ScoreStreamError):
    """No address of the receiver takes connections, or it cannot prove its name. Says no address."""

    retriable = True


class Connections:
    """Makes connections, and keeps those that wait.

    A connection that waits is used again only for the same scheme, name and port, and only while its address is one that
    the name leads to *now*: a name that has moved is not sent to where it was, whoever keeps that connection open.
    """

    def __init__(self, limits: Limits, tls: ssl.SSLContext) -> None:
        self._limits = limits
        self._tls = tls
        self._waiting: dict[str, list[Exchange]] = {}  # by the target's origin; the one used last comes last
        self._oldest: dict[Exchange, str] = {}  # all of them, the one that has waited longest first
        self._sweeping: asyncio.TimerHandle | None = None

    def waiting(self, target: Target, addresses: tuple[str, ...]) -> Exchange | None:
        """One to use again, if there is any; it is the caller's then."""
        now = asyncio.get_running_loop().time()
        waiting = self._waiting.get(target.origin)
        while waiting:
            connection = waiting[-1]
            self._forget(connection)
            if connection.open and connection.address in addresses and not self._stale(connection, now):
                return connection
            connection.abort()
        return None

    async def new(self, target: Target, addresses: tuple[str, ...], deadline: float) -> Exchange:
        """One to the first of ``addresses``, all of them judged, that answers before ``deadline`` on the loop's clock.

        Raises:
            NotConnected: none does, or the certificate is not good for the target's name.
        """
        tried = addresses[:_ADDRESSES]
        seconds = self._limits.connect_seconds / len(tried)
        loop = asyncio.get_running_loop()
        error = "no connection in time"
        for address in tried:
            try:
                async with asyncio.timeout_at(min(deadline, loop.time() + seconds)):
                    return await self._connect(target, address)
            except TimeoutError:
                error = "no connection in time"
            except ssl.SSLCertVerificationError as problem:
                raise NotConnected(f"TLS: {problem.verify_message or 'certificate not valid'}") from None
            except ssl.SSLError as problem:
                raise NotConnected(f"TLS: {(problem.reason or 'failed').replace('_', ' ').lower()}") from None
            except ConnectionRefusedError:
                error = "connection refused"
            except OSError:
                error = "no connection"
        raise NotConnected(error)

    def keep(self, target: Target, connection: Exchange) -> None:
        """Keep one whose last reply said that it is reusable."""
        connection.idle_since = asyncio.get_running_loop().time()
        origin = target.origin
        self._waiting.setdefault(origin, []).append(connection)
        self._oldest[connection] = origin
        if len(self._oldest) > self._limits.idle_connections:
            oldest = next(iter(self._oldest))
            self._forget(oldest)
            oldest.abort()
        if self._sweeping is None:
            self._sweep()

    def close(self) -> None:
        """End all that wait."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for connection in list(self._oldest):
            self._forget(connection)
            connection.abort()

    async def _connect(self, target: Target, address: str) -> Exchange:
        loop = asyncio.get_running_loop()
        encrypted = target.scheme == "https"
        transport, connection = await loop.create_connection(
            lambda: Exchange(self._limits, address, loop),
            address,  # never a name: nothing is left to be resolved
            target.port,
            ssl=self._tls if encrypted else None,
            server_hostname=target.host if encrypted else None,
        )
        # The last line of defence: what the kernel says, not what we asked for.
        peer = transport.get_extra_info("peername")
        if not peer or ip_address(peer[0]) != ip_address(address):
            connection.abort()
            raise NotConnected("connected to another address than was judged")
        return connection

    def _stale(self, connection: Exchange, now: float) -> bool:
        return (
            now - connection.idle_since > self._limits.idle_seconds
            or now - connection.opened > self._limits.connection_seconds
        )

    def _forget(self, connection: Exchange) -> None:
        origin = self._oldest.pop(connection)
        waiting = self._waiting[origin]
        waiting.remove(connection)
        if not waiting:
            del self._waiting[origin]

    def _sweep(self) -> None:
        """End what has waited too long, now and until nothing waits."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._oldest:
            connection = next(iter(self._oldest))
            if connection.open and not self._stale(connection, now):
                break
            self._forget(connection)
            connection.abort()
        self._sweeping = loop.call_later(self._limits.idle_seconds / 2, self._sweep) if self._oldest else None

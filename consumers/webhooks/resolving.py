"""From a name to the addresses that a connection may use, every one of them judged."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from schemas.errors import InvalidInput, ScoreStreamError
from schemas.webhooks.addresses import Target, refusal

logger = logging.getLogger(__name__)

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""Asks for a name's addresses. A name that ends with a dot is absolute: no search domain is tried. Raises OSError."""

# Names seldom change, and getaddrinfo does not say how long they last. Until then a name that moved is sent to where it was.
KEEP_SECONDS: Final = 30.0
_KEEP_FAILURE_SECONDS: Final = 5.0  # a name server that is down is not asked for each message
_REMEMBERED: Final = 20_000  # names; some 10 MB
SLOW_SECONDS: Final = 1.0


class AddressRefused(InvalidInput):
    """The name leads where webhooks may not go. Says no address: a name may be known in our network only."""


class NameUnknown(ScoreStreamError):
    """The name has no address now."""

    retriable = True


class Resolver:
    """Names and their judged addresses, remembered for a while.

    What is returned is what a connection has to use: asking again when connecting could have another answer. A name is
    refused when *one* of its addresses is, for which of them is used is chance. Judging is done for each call, on what is
    remembered, too. Single flight: however many messages wait for a name, it is asked for once.
    """

    def __init__(
        self,
        lookup: Lookup,
        *,
        keep_seconds: float = KEEP_SECONDS,
        seconds: float = 5.0,
        also_refused: Sequence[IPv4Network | IPv6Network] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``also_refused``: the deployment's own public networks, for one."""
        self._lookup = lookup
        self._keep_seconds = keep_seconds
        self._seconds = seconds
        self._also_refused = tuple(also_refused)
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}  # until when, and the addresses
        self._asked: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def addresses(self, target: Target, *, private: bool) -> tuple[str, ...]:
        """The addresses of a target, one at least, to be tried in this order.

        Raises:
            AddressRefused: at least one of them may not be sent to.
            NameUnknown: there is none, or no answer in time.
        """
        if target.literal:
            found: tuple[str, ...] = (target.host,)
        else:
            # Absolute, or "hooks.example" could become a service of our own cluster by its search domains.
            found = await self._found(target.host if private else f"{target.host}.")
        for address in found:
            why = refusal(address, private)
            if why is None and self._also_refused:
                parsed = ip_address(address)
                why = "refused by the settings" if any(parsed in net for net in self._also_refused) else None
            if why is not None:
                logger.warning(
                    "webhook address refused",
                    extra={"host": target.host, "address": address, "reason": why},
                )
                raise AddressRefused("the URL's host leads to an address that webhooks may not be sent to")
        return found

    async def close(self) -> None:
        """Wait for no answer any more: who waits is told that there is none."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    async def _found(self, name: str) -> tuple[str, ...]:
        known = self._known.get(name)
        if known is None or known[0] <= self._clock():
            task = self._asked.get(name)
            if task is None:
                task = self._asked[name] = asyncio.create_task(self._ask(name))
            # Not wait_for(): the task goes on for others that wait, and its answer is of use later.
            done, _ = await asyncio.wait((task,), timeout=self._seconds)
            if done and not task.cancelled():
                found = task.result()
            else:
                self._remember(name, (), _KEEP_FAILURE_SECONDS)
                found = ()
        else:
            found = known[1]
        if not found:
            raise NameUnknown("the URL's host has no address that could be found")
        return found

    async def _ask(self, name: str) -> tuple[str, ...]:
        try:
            found = tuple(dict.fromkeys(await self._lookup(name)))
        except (OSError, UnicodeError):  # getaddrinfo encodes names, and some cannot be
            found = ()
        finally:
            del self._asked[name]
        self._remember(name, found, self._keep_seconds if found else _KEEP_FAILURE_SECONDS)
        return found

    def _remember(self, name: str, found: tuple[str, ...], seconds: float) -> None:
        self._known.pop(name, None)  # to the end of the dictionary, whose first entry is the oldest
        self._known[name] = (self._clock() + seconds, found)
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]


class SystemLookup:
    """The system's resolver, in threads.

    A thread cannot be called back, and a name server that says nothing may hold one for half a minute. Names that
    were slow last time get few threads of their own, so that they take none from the others.
    """

    def __init__(
        self, *, threads: int = 16, slow_threads: int = 4, slow_seconds: float = SLOW_SECONDS
    ) -> None:
        self._quick = ThreadPoolExecutor(threads, "webhook-names")
        self._slow = ThreadPoolExecutor(slow_threads, "webhook-slow-names")
        self._slow_seconds = slow_seconds
        self._slow_names: dict[str, None] = {}

    async def __call__(self, name: str) -> Sequence[str]:
        """The addresses of a name, as ``Lookup``."""
        pool = self._slow if name in self._slow_names else self._quick
        found, seconds = await asyncio.get_running_loop().run_in_executor(pool, _addresses, name)
        if seconds < self._slow_seconds:
            self._slow_names.pop(name, None)
        else:
            self._slow_names[name] = None
            if len(self._slow_names) > _REMEMBERED:
                del self._slow_names[next(iter(self._slow_names))]
        if isinstance(found, OSError | UnicodeError):
            raise found
        return found

    def close(self) -> None:
        """Take no more names. Threads that still wait for an answer end by themselves."""
        self._quick.shutdown(wait=False, cancel_futures=True)
        self._slow.shutdown(wait=False, cancel_futures=True)


def _addresses(name: str) -> tuple[Sequence[str] | OSError | UnicodeError, float]:
    started = time.monotonic()
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        return error, time.monotonic() - started
    return [str(entry[4][0]) for entry in found], time.monotonic() - started

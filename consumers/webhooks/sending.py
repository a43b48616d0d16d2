"""Sends a signed message to a receiver: to an address that was judged, within limits, whatever the receiver does."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from consumers.webhooks.answers import AnswerReader, Limits
from consumers.webhooks.exchange import Exchange
from consumers.webhooks.receiver_connections import Connections, NotConnected
from consumers.webhooks.resolving import NameUnknown, Resolver
from schemas.errors import InvalidInput
from schemas.webhooks.addresses import Target, check_url
from schemas.webhooks.retrying import retry_after_seconds

_LONGEST_CONFIRMATION: Final = 256
_NAME: Final = re.compile(r"[A-Za-z0-9-]+")
_VALUE: Final = re.compile(r"[\x20-\x7e]*")
_OURS: Final = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "accept", "accept-encoding")
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of sending one message. The status alone says whether it was taken.

    Attributes:
        status: None when there was none; ``error`` says why.
        error: short, without addresses and URLs: fit to be kept and shown to the endpoint's owner.
        retry_after_s: what the receiver asked for, from 0 to a day.
        response: the beginning of the body, without control characters. Somebody else's text: never to be trusted.
        confirmation: the header that was wanted, or instead the whole body when it is short.
        refused_address: it was not sent, because its URL leads where webhooks may not go.
    """

    status: int | None
    error: str
    latency_ms: int
    retry_after_s: float | None = None
    response: str = ""
    confirmation: str | None = None
    refused_address: bool = False


class Sender:
    """Posts messages over connections of its own. One for a process; any number of messages at once.

    At least once: when a connection that was used before turns out to have ended, the message is sent again on a new one, with
    the same id. No redirects, no proxies, no cookies, no compressed answers.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``tls``: by default the system's authorities; ``now``: seconds since 1970, for dates that receivers name."""
        self._resolver = resolver
        self._limits = Limits() if limits is None else limits
        self._connections = Connections(self._limits, tls_context(None) if tls is None else tls)
        self._now = now

    async def send(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        private: bool,
        want_header: str | None = None,
    ) -> Answer:
        """Post ``body``; ``private`` when this endpoint may be in a private network (``schemas.webhooks.addresses``).

        Raises:
            InvalidInput: a header is none, or one that is ours to set. Never for the URL or for what the receiver does.
        """
        head = _head(headers, body)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            target = check_url(url, private)
            request = b"POST %b HTTP/1.1\r\nhost: %b\r\n%b%b" % (
                target.path.encode(),
                target.host_header.encode(),
                head,
                body,
            )
            wanted = None if want_header is None else want_header.lower().encode()
            deadline = started + self._limits.seconds
            async with asyncio.timeout_at(deadline):
                addresses = await self._resolver.addresses(target, private=private)
            answer = await self._ask(target, addresses, request, wanted, deadline)
        except (NameUnknown, NotConnected) as error:
            return Answer(None, str(error), _milliseconds(loop, started))
        except TimeoutError:
            return Answer(None, "no answer in time", _milliseconds(loop, started))
        except InvalidInput as error:  # of the URL, or AddressRefused
            return Answer(None, str(error), _milliseconds(loop, started), refused_address=True)
        after = None if answer.retry_after is None else answer.retry_after.decode("latin-1")
        return Answer(
            status=answer.status,
            error=answer.error,
            latency_ms=_milliseconds(loop, started),
            retry_after_s=None if after is None else retry_after_seconds(after, now=self._now()),
            response=_shown(bytes(answer.body)) if answer.body else "",
            confirmation=None if want_header is None else _confirmation(answer),
        )

    async def close(self) -> None:
        """End all connections that wait, and the resolver."""
        self._connections.close()
        await self._resolver.close()

    async def _ask(
        self,
        target: Target,
        addresses: tuple[str, ...],
        request: bytes,
        wanted: bytes | None,
        deadline: float,
    ) -> AnswerReader:
        connection = self._connections.waiting(target, addresses)
        if connection is not None:
            answer = await self._asked(target, connection, request, wanted, deadline)
            if not answer.untouched:
                return answer
            # It had ended while it waited, or just then; a new one says whether anybody is there.
        connection = await self._connections.new(target, addresses, deadline)
        return await self._asked(target, connection, request, wanted, deadline)

    async def _asked(
        self, target: Target, connection: Exchange, request: bytes, wanted: bytes | None, deadline: float
    ) -> AnswerReader:
        try:
            answer = await connection.ask(request, deadline, wanted)
        except BaseException:  # cancelled: an answer may still come, and nobody may take it for another's
            connection.abort()
            raise
        if answer.reusable:
            self._connections.keep(target, connection)
        else:
            connection.abort()
        return answer


def tls_context(authorities: str | None) -> ssl.SSLContext:
    """TLS 1.2 or later, certificates checked against the system's authorities and those of a PEM file.

    Raises:
        InvalidInput: the file has no certificates.
    """
    # Not ssl.create_default_context(): it writes the session keys to where SSLKEYLOGFILE says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.hostname_checks_common_name = False  # authorities check the names of the extension only
    context.set_alpn_protocols(["http/1.1"])
    context.load_default_certs()
    if authorities is not None:
        try:
            context.load_verify_locations(cafile=authorities)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                f"the authorities' file '{authorities}' cannot be read: {error}; expected PEM"
            ) from error
    return context


def _head(headers: Mapping[str, str], body: bytes) -> bytes:
    lines = []
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in _OURS:
            raise InvalidInput(f"a webhook cannot be sent with the header {name!r}")
        lines.append(f"{name}: {value}\r\n")
    lines.append(f"accept: */*\r\naccept-encoding: identity\r\ncontent-length: {len(body)}\r\n\r\n")
    return "".join(lines).encode("ascii")


def _shown(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text
    )


def _confirmation(answer: AnswerReader) -> str | None:
    if answer.wanted is not None:
        return answer.wanted[:_LONGEST_CONFIRMATION].decode("latin-1")
    text = _shown(bytes(answer.body)).strip()
    return text if answer.whole and 0 < len(text) <= _LONGEST_CONFIRMATION else None


def _milliseconds(loop: asyncio.AbstractEventLoop, started: float) -> int:
    return round(1000 * (loop.time() - started))

"""uvicorn as this gateway needs it: its own socket, a drain before the shutdown, connections that streams take over.

uvicorn tells open streams nothing when it is asked to stop, waits for them without end, and runs the lifespan's shutdown
only after they are gone. So the drain hooks into ``Server.shutdown``, while the socket still listens: readiness turns
503, every stream gets its ``bye``, and only then uvicorn closes what is left.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Final

import uvicorn

from gateway.connection import Connection
from schemas.errors import InvalidInput

# A subscriber that stops reading holds this much in the kernel, instead of the 4 MB that autotuning grants.
SEND_BUFFER_BYTES: Final = 65_536
_BACKLOG: Final = 4_096  # a herd of reconnects after a deployment
_GRACE_SECONDS: Final = 1  # for plain requests under way when the drain is over


class Server(uvicorn.Server):
    """Runs an application until SIGTERM or SIGINT, draining first; a second signal ends it at once."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[float | None], Awaitable[None]]) -> None:
        """``drain`` takes the seconds it may last; None leaves that to the settings."""
        super().__init__(config)
        self._drain = drain
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hurry = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        steps = {asyncio.ensure_future(self._drain(None)), asyncio.ensure_future(self._hurry.wait())}
        _, left = await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
        for step in left:
            step.cancel()
        if self._hurry.is_set():
            await self._drain(0.0)
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()  # the parent leaves it out, and with it what must be closed

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not the parent's: it raises the signal again after the shutdown, so that a clean stop would look like a kill.
        if self.should_exit:
            self.force_exit = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._hurry.set)
        self.should_exit = True


def configure(app: object, *, trusted_proxies: str = "127.0.0.1") -> uvicorn.Config:
    """How uvicorn runs an application here; whose word is taken for the address of a client."""
    return uvicorn.Config(
        app,  # type: ignore[arg-type]  # any ASGI application
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=trusted_proxies,
        timeout_keep_alive=75,  # longer than a load balancer's, so that it is never we who close under a request
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def listening_socket(host: str, port: int, *, unconfirmed_seconds: float = 30.0) -> socket.socket:
    """A socket to serve on.

    A client that confirms no byte for ``unconfirmed_seconds`` has vanished without a word, and is given up; the kernel's
    default is a quarter of an hour. It counts for a client that does not read, too, so it has to be more than what a stream grants.

    Raises:
        InvalidInput: the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InvalidInput(
            f"SCORES_GATEWAY_HOST is '{host}': {error.strerror or error}; name an address of this machine"
        ) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; inherited by every connection
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unconfirmed_seconds * 1000))
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise InvalidInput(_why(error, host, port)) from error
    return listener


def _why(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"port {port} on {host} is in use; stop what listens there, or set SCORES_GATEWAY_PORT to another"
        )
    if error.errno == errno.EACCES:
        return f"port {port} needs rights that this process does not have; set SCORES_GATEWAY_PORT above 1023"
    return f"{host}:{port} cannot be listened on ({error.strerror}); check SCORES_GATEWAY_HOST"

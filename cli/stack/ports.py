"""Ports on 127.0.0.1 for servers that must be told one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from collections import deque
from functools import cache
from pathlib import Path
from typing import Final

from schemas.errors import InvalidInput

HOST: Final = "127.0.0.1"

# Below the ranges from which Linux (32768) and macOS (49152) take ports for outgoing connections and for port 0:
# none of those can take the port between our choice and the server's bind, which for Kafka is seconds later.
_RANGE: Final = range(20_000, 30_000)
_ATTEMPTS: Final = 100

# A port chosen here is bound by a server a little later: until then two processes that look at once (tests run side by
# side) would both find it free. So each choice is locked, as one byte of a file, until the process ends or has chosen
# so many more.
_KEPT: Final = 1_000
_chosen: Final[deque[int]] = deque()


def is_free(port: int) -> bool:
    """Whether a server could listen on this port now."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # As servers do; without it, a port that was in use a minute ago counts as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(
                1
            )  # with SO_REUSEADDR, bind alone succeeds beside a socket that is not listening yet
        except OSError:
            return False
    return True


def free_port(*, besides: int | None = None) -> int:
    """A port that nothing listens on and that nobody else is given, and not ``besides``.

    Raises:
        InvalidInput: none was found; something on this machine holds nearly all of them.
    """
    for port in random.sample(_RANGE, _ATTEMPTS):
        if port != besides and is_free(port) and _reserve(port):
            return port
    raise InvalidInput(
        f"None of {_ATTEMPTS} ports tried between {_RANGE.start} and {_RANGE.stop} is free; give a port."
    )


def chosen_port(port: int | None) -> int:
    """The given port if a server can have it, or a free one for None.

    Raises:
        InvalidInput: it is no port, or another process listens there.
    """
    if port is None:
        return free_port()
    if not 1 <= port <= 65_535:
        raise InvalidInput(f"Port {port} does not exist; expected a number from 1 to 65535.")
    if not is_free(port):
        raise InvalidInput(f"Port {port} on {HOST} cannot be used (taken, or reserved); choose another.")
    return port


def _reserve(port: int) -> bool:
    """Whether the port is ours: no choice of this process, nor of another, still holds it."""
    if port in _chosen:
        return False
    try:
        fcntl.lockf(_locks(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _chosen.append(port)
    if len(_chosen) > _KEPT:
        fcntl.lockf(_locks(), fcntl.LOCK_UN, 1, _chosen.popleft())
    return True


@cache  # once for the process: closing any other descriptor of the file would drop all its locks
def _locks() -> int:
    path = Path(tempfile.gettempdir()) / f"scores-ports-{os.getuid()}.lock"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

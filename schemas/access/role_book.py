"""The roles that hold at the moment: read from a file, and again whenever it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from schemas.access.file_stamp import FileStamp, stamp_of
from schemas.access.roles import BUILT_IN_ROLES, Roles
from schemas.access.roles_file import read_roles
from schemas.errors import InvalidInput

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 1.0


class RoleBook:
    """The current roles and groups, for whoever asks, and whoever wants to know when they change.

    A file that cannot be read, or is wrong, changes nothing: what was read last goes on to hold, and the log says so. To
    take everything from everybody is an empty file with ``built_in_roles = false``.
    """

    def __init__(self, file: Path | None) -> None:
        """Without a file the known roles hold, and never change."""
        self._file = file
        self._stamp: FileStamp | None = None
        self._roles = BUILT_IN_ROLES
        self._listeners: list[Callable[[Roles], None]] = []
        self.changed: tuple[str, ...] = ()  # by the newest change: names of roles and groups

    @property
    def current(self) -> Roles:
        """The roles as they are now."""
        return self._roles

    def subscribe(self, listener: Callable[[Roles], None]) -> None:
        """``listener`` is called in the event loop, with the new roles, whenever they have changed."""
        self._listeners.append(listener)

    def load(self) -> None:
        """Read the file now.

        Raises:
            InvalidInput: it cannot be read, or something in it is wrong.
        """
        if self._file is not None:
            self._stamp = _stamp(self._file)
            self._roles = read_roles(self._file)

    async def run(self) -> None:
        """Look at the file every second, until cancelled."""
        while self._file is not None:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Read the file if it has changed, and tell everybody if its roles are others."""
        if self._file is None:
            return
        # In a thread: the folder may be on a network that does not answer.
        self._stamp, found = await asyncio.to_thread(_read_if_changed, self._file, self._stamp)
        if isinstance(found, InvalidInput):
            logger.error("the roles file is wrong; the roles of before hold until it is mended: %s", found)
        elif found is not None and found != self._roles:
            self._change_to(found)

    def _change_to(self, roles: Roles) -> None:
        # In one go: whoever comes later is let in by the new roles, and those who are there the listeners look after.
        self.changed = roles.changed_since(self._roles)
        self._roles = roles
        logger.info("the roles have changed", extra={"changed": len(self.changed)})
        for listener in self._listeners:
            try:
                listener(roles)
            except Exception:  # one listener's fault must not keep the others from what was taken away
                logger.exception("a listener failed over changed roles")


def _read_if_changed(
    file: Path, known: FileStamp | None
) -> tuple[FileStamp | None, Roles | InvalidInput | None]:
    """The file's stamp, and what is new in it: roles, or what is wrong with it."""
    stamp = _stamp(file)
    if stamp == known:
        return stamp, None
    try:
        return stamp, read_roles(file)
    except InvalidInput as error:
        return stamp, error


def _stamp(file: Path) -> FileStamp | None:
    """None for a file that is not there; reading it then says what is the matter."""
    try:
        return stamp_of(file)
    except OSError:
        return None

"""A data folder that one server at a time may use."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from schemas.errors import InvalidInput

_LOCK_FILE: Final = "in-use.lock"


class ClaimedFolder:
    """A folder that is ours until ``release``; made if it is missing.

    Redis and Valkey open an append-only file without asking who else writes to it; two of them ruin it. The server
    inherits ``descriptor`` and so keeps the claim itself, even should it outlive us.

    Raises:
        InvalidInput: another process has claimed it, or it cannot be written to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(self.path / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InvalidInput(
                f"Data folder {self.path} cannot be used ({error.strerror}); choose another."
            ) from error
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self.descriptor, 32, 0).decode(errors="replace") or "unknown"
            os.close(self.descriptor)
            raise InvalidInput(
                f"Data folder {self.path} is in use (by process {holder}); stop that one or choose another folder."
            ) from None
        self.name_holder(os.getpid())

    def name_holder(self, pid: int) -> None:
        """Record whom to stop, for whoever finds the folder claimed."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, str(pid).encode(), 0)

    def release(self) -> None:
        """Give up our part of the claim; it ends when the server has ended too. Releasing twice is fine."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

"""What the local stack keeps between commands, in ``.scores/``: secrets made once, and where things run now."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from schemas.errors import InvalidInput

DEFAULT_FOLDER = Path(".scores")


@dataclass(frozen=True, slots=True)
class Running:
    """Addresses of a running local stack, so that the other commands need no options."""

    pid: int
    kafka: str
    redis_url: str
    gateway_url: str


class StateFolder:
    """The ``.scores`` folder: two secrets, the development issuer's keys, ``running.json``."""

    def __init__(self, path: Path = DEFAULT_FOLDER) -> None:
        self.path = path

    @property
    def issuer(self) -> Path:
        """Where the development issuer keeps its keys."""
        return self.path / "issuer"

    def student_key_secret(self) -> str:
        """The secret behind the student pseudonyms of the local stack; made at first use, readable by its owner."""
        return self._secret("student-key-secret")

    def student_key_secret_from(self, variables: Mapping[str, str]) -> str:
        """The deployment's secret where the environment names it, else the local stack's."""
        return variables.get("SCORES_STUDENT_KEY_SECRET") or self.student_key_secret()

    def webhook_key_from(self, variables: Mapping[str, str]) -> str:
        """The key behind the webhooks' secrets: the deployment's where the environment names it, else the local stack's."""
        return variables.get("SCORES_WEBHOOK_KEY") or self._secret("webhook-key")

    def announce(self, running: Running) -> None:
        """Write down where the stack runs."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "running.json").write_text(json.dumps(asdict(running), indent=2) + "\n")

    def forget(self) -> None:
        """The stack has stopped."""
        (self.path / "running.json").unlink(missing_ok=True)

    def running(self) -> Running | None:
        """The stack that runs now, if it is alive."""
        try:
            running = Running(**json.loads((self.path / "running.json").read_text()))
            os.kill(running.pid, 0)
        except (OSError, ValueError, TypeError):
            return None
        return running

    def address(self, given: str | None, what: str, option: str) -> str:
        """An address that was given, else the running stack's.

        Args:
            what: ``kafka``, ``redis_url`` or ``gateway_url``.

        Raises:
            InvalidInput: neither is there.
        """
        if given:
            return given
        running = self.running()
        if running is None:
            raise InvalidInput(
                f"no local stack is running here; start one with `scores up`, or give {option}"
            )
        return str(getattr(running, what))

    def _secret(self, name: str) -> str:
        file = self.path / name
        if not file.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(secrets.token_hex(32))
        return file.read_text().strip()

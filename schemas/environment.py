"""Reading settings from environment variables: typed, with every fault reported at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.errors import InvalidInput
from schemas.releases import ReleaseState, state_named

_ADDRESSES: Final = re.compile(r"[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*")


class Secret:
    """A value that never shows in a repr, a log or a traceback."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def reveal(self) -> bytes:
        """The value itself."""
        return self._value


class Environment:
    """One reading of the environment. Ask for every setting, then ``check``.

    A faulty setting yields its default for the moment and is reported by ``check`` with all others, so that an operator
    mends a configuration in one round.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self._problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """A non-empty text; without a default it must be set."""
        value = self._variables.get(name, "").strip()
        if value:
            return value
        if default is None:
            self._problems.append(f"{name} is not set")
            return ""
        return default

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        value = self.text(name, str(default))
        if re.fullmatch(r"-?\d+", value) and low <= int(value) <= high:
            return int(value)
        self._problems.append(f"{name} is '{value}'; expected a whole number from {low} to {high}")
        return default

    def seconds(self, name: str, default: float, *, low: float, high: float) -> float:
        """A duration in seconds from ``low`` to ``high``."""
        value = self.text(name, str(default))
        if re.fullmatch(r"\d+(\.\d+)?", value) and low <= float(value) <= high:
            return float(value)
        self._problems.append(f"{name} is '{value}'; expected seconds from {low:g} to {high:g}")
        return default

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """One of ``choices``."""
        value = self.text(name, default)
        if value in choices:
            return value
        self._problems.append(f"{name} is '{value}'; expected one of {', '.join(choices)}")
        return default

    def addresses(self, name: str, default: str) -> str:
        """Kafka bootstrap servers: ``host:port``, several separated by commas."""
        value = self.text(name, default)
        if _ADDRESSES.fullmatch(value) and all(
            0 < int(a.rsplit(":", 1)[1]) < 65536 for a in value.split(",")
        ):
            return value
        self._problems.append(f"{name} is '{value}'; expected host:port, several separated by commas")
        return default

    def redis_url(self, name: str, default: str) -> str:
        """A Redis address: ``redis://host:port/db``, ``rediss://`` or ``unix://``."""
        value = self.text(name, default)
        if re.match(r"(rediss?|unix)://\S+", value):
            return value
        self._problems.append(
            f"{name} is '{value}'; expected redis://host:port/0, rediss://... or unix://..."
        )
        return default

    def secret(self, name: str) -> Secret:
        """A secret text; it must be set."""
        return Secret(self.text(name).encode())

    def refuse(self, problem: str) -> None:
        """Report a fault that the caller has found."""
        self._problems.append(problem)

    def check(self) -> None:
        """Raise when anything was wrong.

        Raises:
            InvalidInput: every fault, one a line.
        """
        if self._problems:
            raise InvalidInput("\n".join(self._problems))


@dataclass(frozen=True, slots=True)
class SharedSettings:
    """What all processes of a deployment are told alike; each process's settings begin with these."""

    kafka: str
    redis_url: str
    redis_cluster: bool
    student_key_secret: Secret
    unlisted_release_state: ReleaseState
    log_format: str

    @staticmethod
    def read(env: Environment) -> dict[str, Any]:
        """The values by field; the caller checks ``env``."""
        return {
            "kafka": env.addresses("SCORES_KAFKA", "127.0.0.1:9092"),
            "redis_url": env.redis_url("SCORES_REDIS_URL", "redis://127.0.0.1:6379/0"),
            "redis_cluster": env.choice("SCORES_REDIS_CLUSTER", "no", ("no", "yes")) == "yes",
            "student_key_secret": env.secret("SCORES_STUDENT_KEY_SECRET"),
            "unlisted_release_state": state_named(
                env.choice("SCORES_UNLISTED_RELEASE_STATE", "loading", ("loading", "reviewing", "released"))
            ),
            "log_format": env.choice("SCORES_LOG_FORMAT", "text", ("text", "json")),
        }


def shown_address(url: str) -> str:
    """An address as messages may show it: without user, password and options."""
    scheme, separator, rest = url.rpartition("://")
    return scheme + separator + rest.partition("?")[0].rpartition("@")[2]

"""Where a process writes its audit, and for how long it keeps what Kafka has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schemas.environment import Environment

DEVELOPMENT_FOLDER = ".scores/audit"


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """The audit's spool; ``.env.example`` explains each."""

    folder: Path
    keep_hours: float = 72.0
    segment_bytes: int = 64 * 1024 * 1024  # files are removed whole; so large is an hour of a busy node

    @classmethod
    def read(cls, env: Environment, *, production: bool) -> AuditSettings:
        """Ask for every setting; the caller checks ``env``."""
        return cls(
            # In production nobody's audit ends up in a folder that nobody chose.
            folder=Path(env.text("SCORES_AUDIT_DIR", None if production else DEVELOPMENT_FOLDER)),
            keep_hours=env.seconds("SCORES_AUDIT_KEEP_HOURS", 72, low=0, high=8_760),
        )

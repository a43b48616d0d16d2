"""Would a rejected record be rejected again? Asked with the workers' own reader, before anything is produced."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from cli.rejected.index import Blocked, Judge
from cli.rejected.records import RejectedRecord, printable, subject, waits_for
from cli.state import StateFolder
from cli.stored_cells import StoredCells
from cli.stores import opened_store
from schemas.assessments import load_registry
from schemas.closings import Closings, closed_detail, fold
from schemas.errors import InvalidInput
from schemas.keys import GENERATION, Attribution, Generation, how_made
from schemas.organizations import Directory
from schemas.pseudonyms import Pseudonymizer
from schemas.rejections import Reason
from streams.closings_topic import read_changes
from streams.reading import Reader, Rejection

_REMEMBERED: Final = 20_000
_NOTHING_CLOSED: Final = Closings()

_CONTRADICTED: Final = (
    "the version is taken by other content; only a result with a later status date can replace it"
)
_KEYLESS: Final = "the record has no key, so no student; the producer must send it under the student's key"
_TOO_LARGE: Final = "it was too large to be kept whole; read it at its coordinates in the results topic, and have it sent again smaller"


def worker_judge(
    is_school: Callable[[str], bool],
    secret: bytes,
    attribution: Attribution,
    closings: Closings = _NOTHING_CLOSED,
    now_ms: int = 0,
) -> Judge:
    """Judges as a worker with these settings, this directory and these closings would, of a result produced now."""
    reader = Reader(load_registry(), Pseudonymizer(secret), is_school, attribution)
    remembered: dict[Blocked, Blocked] = {}

    def judge(record: RejectedRecord) -> Blocked | None:
        blocked = unproducible(record) or _rejected_again(record, reader, closings, now_ms)
        if blocked is None:
            return None
        if len(remembered) >= _REMEMBERED:
            remembered.clear()
        return remembered.setdefault(blocked, blocked)  # a million that wait for one school share one

    return judge


def judge_of_now(kafka: str, redis_url: str, secret: bytes) -> Judge:
    """Judges as the workers would at this moment.

    Raises:
        InvalidInput: an address is none, or there is no closings topic.
        DependencyUnavailable: Kafka or Redis does not answer.
    """
    directory, attribution = stored_rules(redis_url)
    closings = fold(read_changes(kafka))
    return worker_judge(directory.is_school, secret, attribution, closings, time.time_ns() // 1_000_000)


def stored_rules(redis_url: str) -> tuple[Directory, Attribution]:
    """The directory as it is now, and under which school the serving tables count.

    Raises:
        InvalidInput: the address is none.
        DependencyUnavailable: Redis does not answer.
    """
    with opened_store(redis_url) as redis:
        serving: Any = redis.get(GENERATION) or b""  # none yet, when no worker has run
        name = serving.decode() if isinstance(serving, bytes) else serving
        return StoredCells(redis).directory(), how_made(Generation(name)).attribution


def unproducible(record: RejectedRecord) -> Blocked | None:
    """Why a record cannot be produced again at all, forced or not."""
    if record.omitted:
        return Blocked(record.reason, None, _TOO_LARGE)
    if record.stored.key is None:
        return Blocked(record.reason, None, _KEYLESS)
    return None


def student_key_secret(
    state: StateFolder,
    variables: Mapping[str, str],
    remedy: str = "Set it, or produce without asking (--force)",
) -> bytes:
    """The secret that the workers have, from the environment or the local stack.

    Raises:
        InvalidInput: neither has it. A new one would make every key look wrong.
    """
    secret = variables.get("SCORES_STUDENT_KEY_SECRET")
    if not secret and not (state.path / "student-key-secret").exists():
        raise InvalidInput(
            "SCORES_STUDENT_KEY_SECRET is not set; without the workers' secret nobody can tell what would be rejected again. "
            f"{remedy}"
        )
    return (secret or state.student_key_secret()).encode()


def _rejected_again(
    record: RejectedRecord, reader: Reader, closings: Closings, now_ms: int
) -> Blocked | None:
    if record.reason == Reason.CONTRADICTION:
        return Blocked(record.reason, None, _CONTRADICTED)  # reading cannot see it: the tables decide
    result = reader.read(record.stored)
    if not isinstance(result, Rejection):
        since_ms = closings.closed_since(result.fields[0], now_ms)
        if since_ms is None:
            return None
        result = Rejection(record.stored, Reason.CLOSED, closed_detail(result.fields[0], since_ms))
    about = subject(record.stored.value)
    return Blocked(
        result.reason.value, waits_for(result.reason, result.detail, about), printable(result.detail)
    )

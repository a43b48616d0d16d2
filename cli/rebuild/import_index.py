"""Fills the import index (exam -> whose it has ever been) from the log, after Redis has lost it.

Without it a corrected student identifier would leave the exam under the old one, too. Filling adds to what is there, so it may
run while imports go on, and again: each exam keeps all holders, and its highest version.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import islice
from typing import Final

import msgspec
from rich.console import Console

from cli.stores import is_cluster
from gateway.imports.histories import ExamClaim, exam_claim
from gateway.imports.settings import ImportSettings
from gateway.imports.store import ImportStore, RedisImportStore
from gateway.redis_connection import connect
from schemas.events import ExamResult, decode_exam_result
from schemas.identifiers import StudentKey
from schemas.topics import EXAM_RESULTS
from streams.topic_reading import StoredRecord, read_topic

_AT_ONCE: Final = 2_000
_REDIS_SECONDS: Final = 60.0  # for so many; nobody waits for an answer here
_KEY_DIGITS: Final = 24


def fill_import_index(kafka: str, redis_url: str, *, as_json: bool) -> int:
    """Read the results topic up to its end, and note every exam's holders.

    Raises:
        InvalidInput: there is no results topic, or the address is none.
        DependencyUnavailable: Kafka or Redis does not answer.
    """
    console = Console(stderr=True, quiet=as_json)
    with console.status("Reading the log") as status:
        read, exams = asyncio.run(
            _fill(kafka, redis_url, lambda number: status.update(f"{number:,} events noted"))
        )
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode({"events": read, "noted": exams}) + b"\n")
        sys.stdout.flush()
    else:
        print(f"{read:,} events read, {exams:,} noted in the import index.")
    return 0


def claim_of(stored: StoredRecord) -> tuple[ExamClaim, ExamResult] | None:
    """What a record of the results topic says of whose an exam is; None when it is no result under a student's key."""
    try:
        event = decode_exam_result(stored.value or b"")
        key = bytes.fromhex((stored.key or b"").decode())
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    if len(key) * 2 != _KEY_DIGITS:
        return None
    return exam_claim(event, StudentKey(key.hex())), event


async def _fill(kafka: str, redis_url: str, tell: Callable[[int], None]) -> tuple[int, int]:
    client = connect(redis_url, cluster=is_cluster(redis_url))
    read = noted = 0
    try:
        store = RedisImportStore(client, ImportSettings(redis_seconds=_REDIS_SECONDS))
        with closing(read_topic(kafka, EXAM_RESULTS)) as topic:
            while some := await asyncio.to_thread(list, islice(topic, _AT_ONCE)):
                read += len(some)
                noted += await _note(store, some)
                tell(noted)
    finally:
        await client.aclose()
    return read, noted


async def _note(store: ImportStore, records: Sequence[StoredRecord]) -> int:
    found = [claim for record in records if (claim := claim_of(record)) is not None]
    await store.claim([claim for claim, _ in found])
    # A tombstone that went ahead of a state names no student: its key was a holder, and is not the newest.
    await store.confirm([claim for claim, event in found if event.student_id is not None])
    return len(found)

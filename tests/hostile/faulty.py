"""Readers with one fault each, to prove that the checks notice it."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final
from zlib import crc32

from msgspec.structs import replace

from hostile import runner
from hostile.event_checks import EventCheck
from hostile.inputs import Kind
from hostile.sound import PSEUDONYMS, registry, schools
from schemas.rejections import Reason
from streams.reading import Incoming, Reader, Record, Rejection
from streams.rows import LIVE_BYTES

_EVERY: Final = 7  # records, about, between two faults


class _Faulty(Reader):
    """Reads well, and now and then not; which fault comes when is decided by the bytes."""

    def __init__(self, *faults: str) -> None:
        super().__init__(registry(), PSEUDONYMS, frozenset(schools()).__contains__)
        self._faults = faults
        self._kept: list[bytes] = []

    def read(self, record: Record) -> Incoming | Rejection:
        """As ``Reader.read``, but for the fault."""
        result = super().read(record)
        if isinstance(result, Incoming):
            self._accepted = result
        chosen, fault = divmod(crc32(record.value or b""), len(self._faults))
        if chosen % _EVERY:
            return result
        made: Incoming | Rejection = getattr(self, self._faults[fault])(record, result)
        return made

    def crashing(self, record: Record, result: Any) -> Any:
        return 1 // 0

    def strict(self, record: Record, result: Any) -> Any:
        return Rejection(record, Reason.WRONG_KEY, "no reason at all")

    def without_reason(self, record: Record, result: Any) -> Any:
        return Rejection(record, result.reason, "") if isinstance(result, Rejection) else result

    def lenient(self, record: Record, result: Any) -> Any:
        return self._accepted if isinstance(result, Rejection) else result

    def miscounting(self, record: Record, result: Any) -> Any:
        if isinstance(result, Rejection) or len(result.exam) != LIVE_BYTES:
            return result
        other = bytes([result.exam[-4] ^ 1])  # the lowest bit of the score
        return replace(result, exam=result.exam[:-4] + other + result.exam[-3:])

    def hanging(self, record: Record, result: Any) -> Any:
        signal.setitimer(signal.ITIMER_PROF, 0.2)  # rather than the whole time that an input may take
        return re.match(r"(a*)*b", "a" * 60)

    def fatal(self, record: Record, result: Any) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)

    def insatiable(self, record: Record, result: Any) -> Any:
        return bytes(1 << 33)

    def leaking(self, record: Record, result: Any) -> Any:
        self._kept.append(os.urandom(1 << 20))
        return result


@contextmanager
def _checking(faults: tuple[str, ...], kind: Kind) -> Iterator[runner.Check]:
    yield EventCheck(_Faulty(*faults))


WRONG: Final = partial(_checking, ("crashing", "strict", "without_reason", "lenient", "miscounting"))
HANGING: Final = partial(_checking, ("hanging",))
FATAL: Final = partial(_checking, ("fatal",))
INSATIABLE: Final = partial(_checking, ("insatiable",))
LEAKING: Final = partial(_checking, ("leaking",))

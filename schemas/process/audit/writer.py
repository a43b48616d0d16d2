"""The audit: takes note at once, writes in a thread of its own.

What is noted survives the process once ``written`` returns: it is in the system's cache of the file then, which outlives
kill -9; the disk has it within a second, which matters when the machine loses its power.

*Fail closed for what is new, open for what is open.* While nothing can be written, ``written`` refuses, so no stream is
opened, nothing is read and no webhook is sent; streams that are open go on, and what happens to them is held in memory until the disk takes
it again: up to 100,000 entries, and the number of those beyond becomes an entry itself.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Final

from schemas.audit import AuditEvent, AuditKind, Head
from schemas.process.audit import spool
from schemas.process.audit.auditor import AuditUnavailable
from schemas.process.audit.chain_file import ChainFile
from schemas.process.audit.metrics import AuditMetrics
from schemas.process.audit.settings import AuditSettings

logger = logging.getLogger(__name__)

# About 60 MB. A node of 20,000 streams that all end, and some refusals, while the disk is full.
_MOST_WAITING: Final = 100_000
_AT_ONCE: Final = 1_000  # entries of one write; half a megabyte
_WRITTEN_SECONDS: Final = 3.0  # a disk that takes longer is as good as none
_RETRY_SECONDS: Final = 1.0
_SYNC_SECONDS: Final = 1.0


class _Stop:
    pass


class _Waiter:
    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()


_Item = tuple[int, AuditEvent] | _Waiter | _Stop


class Audit:
    """One process's chain. ``note`` from the event loop, everything else by its own thread."""

    def __init__(self, settings: AuditSettings, node: str, metrics: AuditMetrics) -> None:
        """``node`` names this process among all that are and were; a gateway's streams' ids begin with it.

        Raises:
            InvalidInput: the folder cannot be written.
        """
        self._settings = settings
        self._metrics = metrics
        self._queue: SimpleQueue[_Item] = SimpleQueue()
        self._lost = 0  # counted by the event loop
        self._lost_told = 0  # by the writing thread
        self._failing = False
        self._thread: threading.Thread | None = None
        self._syncing: threading.Thread | None = None
        self._stopping = threading.Event()
        self._lock: spool.ChainLock | None = None
        self.chain = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{node}"
        self._file = ChainFile(settings.folder, self.chain, segment_bytes=settings.segment_bytes)
        self.left_behind: dict[str, spool.ChainLock] = {}  # chains of others that ended; ours to ship
        spool.prepare(settings.folder)

    @property
    def head(self) -> Head:
        """The chain's newest entry that is written."""
        return self._file.head

    @property
    def failing(self) -> bool:
        """Whether nothing can be written just now."""
        return self._failing

    def start(self) -> None:
        """Begin the chain, where those that ended left off, and start writing.

        Raises:
            OSError: the folder cannot be written.
        """
        folder = self._settings.folder
        with spool.folder_lock(folder):
            self._lock = spool.ChainLock.take(folder, self.chain)
            heads = self._take_over()
            started = AuditEvent(kind=AuditKind.CHAIN_STARTED, heads=tuple(heads))
            self._file.append([(_now_ms(), started)])
            self._file.sync()
            for head in heads:
                spool.mark_continued(folder, head.chain)
        self._thread = threading.Thread(target=self._write, name="audit-writer", daemon=True)
        self._thread.start()
        self._syncing = threading.Thread(target=self._sync, name="audit-sync", daemon=True)
        self._syncing.start()

    def note(self, event: AuditEvent) -> None:
        """Note it; costs about a microsecond, and a write is never waited for."""
        if self._queue.qsize() >= _MOST_WAITING:
            self._lost += 1
            self._metrics.lost.inc()
            return
        self._queue.put((_now_ms(), event))

    async def written(self) -> None:
        """Return when all that was noted so far outlives this process.

        Raises:
            AuditUnavailable: it could not be written in time.
        """
        if self._failing:
            raise AuditUnavailable("the audit cannot be written; see SCORES_AUDIT_DIR")
        waiter = _Waiter()
        self._queue.put(waiter)
        try:
            async with asyncio.timeout(_WRITTEN_SECONDS):
                await waiter.future
        except TimeoutError:
            raise AuditUnavailable(f"the audit's disk took more than {_WRITTEN_SECONDS:g} s") from None

    def close(self) -> None:
        """Write what is noted, end the chain and stop; blocks, call it off the event loop."""
        if self._thread is None:
            return
        self.note(AuditEvent(kind=AuditKind.CHAIN_ENDED))
        self._stopping.set()
        self._queue.put(_Stop())
        self._thread.join()
        self._thread = None
        if self._syncing is not None:
            self._syncing.join()

    def release(self) -> None:
        """Let others have the chains; when nothing is shipped any more."""
        for lock in (self._lock, *self.left_behind.values()):
            if lock is not None:
                lock.release()
        self._lock, self.left_behind = None, {}

    def _take_over(self) -> list[Head]:
        """The ends of chains that nobody writes and no chain has named yet. All that nobody writes are ours to ship."""
        folder, heads = self._settings.folder, []
        for chain, firsts in spool.segments(folder).items():
            lock = spool.ChainLock.take(folder, chain) if chain != self.chain else None
            if lock is None:
                continue
            self.left_behind[chain] = lock
            if not spool.is_continued(folder, chain):
                heads.append(spool.head_of(folder, chain, firsts))
        return heads

    # In the writing thread.

    def _write(self) -> None:
        try:
            self._write_until_stopped()
            self._file.close()
        except Exception:  # the thread's outer rim: what is not written is not shown
            self._failing = True
            self._metrics.failing.set(1)
            logger.exception("the audit has stopped; restart this process")

    def _write_until_stopped(self) -> None:
        stopped = False
        while not stopped:
            items = self._next_items()
            stopped = any(isinstance(item, _Stop) for item in items)
            events = [item for item in items if isinstance(item, tuple)]
            waiters = [item for item in items if isinstance(item, _Waiter)]
            lost = self._lost - self._lost_told
            if lost:
                self._lost_told += lost
                events.append((_now_ms(), AuditEvent(kind=AuditKind.ENTRIES_LOST, detail=f"{lost} entries")))
            try:
                self._file.append(events)
            except OSError as error:
                self._answer(waiters, f"the audit cannot be written: {error.strerror}")
                self._recover(error)
            else:
                self._answer(waiters, None)
            self._metrics.entries.inc(len(events))

    def _next_items(self) -> list[_Item]:
        items = [self._queue.get()]
        try:
            while len(items) < _AT_ONCE:
                items.append(self._queue.get_nowait())
        except Empty:
            pass
        return items

    def _recover(self, error: OSError) -> None:
        """Try again each second. What is noted meanwhile waits in the queue, and whoever waits is told."""
        self._failing = True
        self._metrics.failing.set(1)
        logger.error(
            "the audit cannot be written, so nothing new is shown or sent; open streams go on folder=%s error=%s",
            self._settings.folder,
            error,
        )
        while not self._stopping.wait(_RETRY_SECONDS):
            try:
                self._file.flush()
            except OSError:
                continue
            self._failing = False
            self._metrics.failing.set(0)
            logger.warning("the audit is written again folder=%s", self._settings.folder)
            return

    def _answer(self, waiters: Sequence[_Waiter], trouble: str | None) -> None:
        if not waiters:
            return
        # One wake-up of the event loop for all.
        try:
            waiters[0].loop.call_soon_threadsafe(_finish, waiters, trouble)
        except RuntimeError:
            pass  # the loop is closed, so nobody waits

    # In the syncing thread.

    def _sync(self) -> None:
        while not self._stopping.wait(_SYNC_SECONDS):
            try:
                self._file.sync()
            except OSError as error:
                logger.error("the audit is written, but not safe from a loss of power error=%s", error)


def _finish(waiters: Sequence[_Waiter], trouble: str | None) -> None:
    for waiter in waiters:
        if waiter.future.done():
            continue  # gave up
        if trouble is None:
            waiter.future.set_result(None)
        else:
            waiter.future.set_exception(AuditUnavailable(trouble))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

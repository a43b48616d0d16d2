"""``scores import``: exam reports from files, folders and archives, through the gateway, with an account of each."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from cli.exam_sources import ExamDocument, ExamSources, Unreadable
from cli.import_gateway import BatchAnswer, Imported, ImportGateway
from schemas.errors import ScoreStreamError
from schemas.imports import ImportStatus

# One request: large enough that its cost is spread, small enough that a resend is cheap and progress is seen.
_BATCH_DOCUMENTS: Final = 100
_BATCH_BYTES: Final = 8 * 1024 * 1024
# Enough to keep the gateway busy while answers travel; more only fills its memory.
_IN_FLIGHT: Final = 4
_EXAMPLES: Final = 3  # file names shown of each reason
_LINE_EVERY_SECONDS: Final = 5.0  # between plain progress lines

_Show = Callable[[], None]


@dataclass(slots=True)
class _Reason:
    """Documents with one and the same trouble."""

    status: str
    element: str
    error: str  # the first document's
    count: int = 0
    files: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        self.count += 1
        if len(self.files) < _EXAMPLES:
            self.files.append(name)


@dataclass(slots=True)
class _Account:
    """What became of all documents so far."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    parked: int = 0
    rejected: int = 0
    skipped: int = 0
    seconds: float = 0.0
    reasons: dict[tuple[str, str], _Reason] = field(default_factory=dict)

    def add(self, documents: Sequence[ExamDocument], answer: BatchAnswer) -> None:
        summary = answer.summary
        self.received += len(documents)
        self.accepted += summary.accepted
        self.duplicate += summary.duplicate
        self.parked += summary.parked
        self.rejected += sum(summary.rejected.values())
        for document, imported in zip(documents, answer.imports, strict=True):
            if imported.code < 0:
                self._note(document.name, imported)

    def unreadable(self, name: str, reason: str) -> None:
        self.received += 1
        self.rejected += 1
        self._reason("UNREADABLE", "", reason).add(name)

    def _note(self, name: str, imported: Imported) -> None:
        first = imported.errors[0] if imported.errors else None
        element, error = (first.element, first.error) if first else ("", "")
        self._reason(imported.status, element, error).add(name)

    def _reason(self, status: str, element: str, error: str) -> _Reason:
        return self.reasons.setdefault((status, element), _Reason(status, element, error))


def import_exams(paths: list[Path], gateway_url: str, token: str, *, batch: str | None, as_json: bool) -> int:
    """Import all exam reports under ``paths`` and print what became of them.

    The exit status is 0 when all were accepted, known already or parked, and 1 when some were rejected.

    Raises:
        InvalidInput: a path is not there or holds nothing to import, or the gateway refuses the token.
        DependencyUnavailable: there is no gateway, or it could not store results for minutes. What was accepted until
            then stays so; running the command again is safe.
    """
    sources = ExamSources(paths)
    account = _Account()
    started = time.monotonic()
    with ImportGateway(gateway_url, token) as gateway:
        gateway.check()
        try:
            with _progress(sources, account, quiet=as_json) as show:
                _send_all(sources, gateway, batch, account, show)
        except ScoreStreamError:
            if account.received:
                _report(account, sources, started, batch, as_json)
            raise
    _report(account, sources, started, batch, as_json)
    return 1 if account.rejected else 0


def _send_all(
    sources: ExamSources, gateway: ImportGateway, batch: str | None, account: _Account, show: _Show
) -> None:
    def settle(waiting: deque[tuple[list[ExamDocument], Future[BatchAnswer | None]]]) -> None:
        documents, future = waiting.popleft()
        answer = future.result()
        if answer is not None:
            account.add(documents, answer)
        else:
            _send_smaller(documents, gateway, batch, account)
        show()

    waiting: deque[tuple[list[ExamDocument], Future[BatchAnswer | None]]] = deque()
    pool = ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="import")
    try:
        for documents in _batches(sources, account):
            waiting.append((documents, pool.submit(gateway.send, documents, batch)))
            while len(waiting) >= _IN_FLIGHT or (waiting and waiting[0][1].done()):
                settle(waiting)
        while waiting:
            settle(waiting)
    finally:
        pool.shutdown(cancel_futures=True)


def _send_smaller(
    documents: list[ExamDocument], gateway: ImportGateway, batch: str | None, account: _Account
) -> None:
    """Halve what the gateway found too large, down to single documents."""
    if len(documents) == 1:
        account.unreadable(documents[0].name, "larger than the gateway takes")
        return
    middle = len(documents) // 2
    for half in (documents[:middle], documents[middle:]):
        answer = gateway.send(half, batch)
        if answer is not None:
            account.add(half, answer)
        else:
            _send_smaller(half, gateway, batch, account)


def _batches(sources: ExamSources, account: _Account) -> Iterator[list[ExamDocument]]:
    gathered: list[ExamDocument] = []
    size = 0
    for found in sources:
        if isinstance(found, Unreadable):
            account.unreadable(found.name, found.reason)
            continue
        if gathered and (len(gathered) == _BATCH_DOCUMENTS or size + len(found.data) > _BATCH_BYTES):
            yield gathered
            gathered, size = [], 0
        gathered.append(found)
        size += len(found.data)
    if gathered:
        yield gathered


@contextmanager
def _progress(sources: ExamSources, account: _Account, *, quiet: bool) -> Iterator[_Show]:
    console = Console(stderr=True)
    if quiet:
        yield lambda: None
    elif console.is_terminal:
        columns = (
            TextColumn("Importing"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
            task = bar.add_task("", total=sources.total_bytes)
            yield lambda: bar.update(task, completed=sources.done_bytes, description=_so_far(account))
    else:
        yield _Lines(account, console)


class _Lines:
    """Progress for a log file: a line now and then."""

    def __init__(self, account: _Account, console: Console) -> None:
        self._account = account
        self._console = console
        self._last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last >= _LINE_EVERY_SECONDS:
            self._last = time.monotonic()
            self._console.print(Text(_so_far(self._account)))


def _so_far(account: _Account) -> str:
    rejected = f", {account.rejected:,} rejected" if account.rejected else ""
    return f"{account.received:,} documents{rejected}"


def _report(
    account: _Account, sources: ExamSources, started: float, batch: str | None, as_json: bool
) -> None:
    account.skipped = sources.skipped
    account.seconds = round(time.monotonic() - started, 3)
    reasons = sorted(account.reasons.values(), key=lambda reason: -reason.count)
    if as_json:
        body = {name: getattr(account, name) for name in (*_MEANINGS, "skipped", "seconds")}
        body |= {"batch": batch, "reasons": msgspec.to_builtins(reasons)}
        sys.stdout.buffer.write(msgspec.json.encode(body) + b"\n")
        sys.stdout.flush()
        return
    console = Console()
    numbers = Table(title="Imported", title_justify="left", show_header=False)
    numbers.add_column()
    numbers.add_column(justify="right")
    for name in ("received", "accepted", "duplicate", "parked", "rejected"):
        numbers.add_row(_MEANINGS[name], f"{getattr(account, name):,}")
    console.print(numbers)
    for reason in reasons:
        place = f"{reason.element}: " if reason.element else ""
        console.print(Text(f"{reason.count:,} x {reason.status}, {place}{reason.error}"), soft_wrap=True)
        for name in reason.files:
            console.print(Text(f"    {name}"), soft_wrap=True)
    rate = account.received / account.seconds if account.seconds else 0.0
    skipped = f"; passed over, of other kinds: {account.skipped:,}" if account.skipped else ""
    console.print(Text(f"{account.seconds:.1f} s, {rate:,.0f} documents/s{skipped}"))
    if any(reason.status == ImportStatus.UNKNOWN_SCHOOL.name for reason in reasons):
        console.print(Text("Load the schools of parked exams with `scores entities load FILE`."))


_MEANINGS: Final = {
    "received": "received",
    "accepted": "accepted: stored by Kafka",
    "duplicate": "duplicate: the same bytes were taken before",
    "parked": "parked: the directory lacks the school",
    "rejected": "rejected",
}

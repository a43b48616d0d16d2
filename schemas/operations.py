"""How the service is doing, as the monitor judges it and everybody else shows it: ``scores status``, ``/ops``, metrics, alerts.

The monitor (``consumers.lag``) writes the latest judgement and a history of it into Redis; nothing here is about any school,
student or user.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec
from msgspec import Struct

STATE: Final = "{operations}:state"  # string: the latest ``Judgement`` (JSON)
HISTORY: Final = (
    "{operations}:history"  # stream: a ``Sample`` (JSON) in field "sample", one in ten seconds, six hours
)
HISTORY_FIELD: Final = b"sample"
MONITOR_LEASE: Final = "{operations}:lease"  # who monitors; expires
HISTORY_SECONDS: Final = 6 * 3_600
SAMPLE_SECONDS: Final = 10
TOO_OLD_SECONDS: Final = 30  # a judgement older than that says nothing: nobody monitors
PARTS: Final = "{operations}:parts"  # hash: <name> or <name>:<instance> -> what a part says of itself (``PartReport``, JSON)
PART_TOO_OLD_SECONDS: Final = 60  # a part that has not told of itself for so long has stopped
PART_FORGOTTEN_SECONDS: Final = 600  # and after that its entry goes


class Verdict(StrEnum):
    """What a reader of a log, or a part of the service, is doing. From good to bad; a group is as bad as its worst part."""

    OK = "ok"
    INCOMPLETE = "incomplete"  # too few samples to tell
    REPLAYING = "replaying"  # it was told to go back, and is on its way
    WARN = "warn"  # it moves, and the lag does not fall
    SKEWED = "skewed"  # clocks disagree: what is said in seconds cannot be trusted
    REJECTING = "rejecting"  # more events are refused than usual
    REWIND = "rewind"  # it has gone back, and nobody said so
    STALE = "stale"  # the tables lack results that the log has
    STALL = "stall"  # it is alive, and does not move
    UNASSIGNED = "unassigned"  # nobody owns the partition
    FENCED = "fenced"  # two owners fight for it
    STOP = "stop"  # nothing was heard of it
    LOST = "lost"  # retention has deleted what it had not read

    @property
    def alarming(self) -> bool:
        """Whether somebody must look now."""
        return self not in _HARMLESS


_HARMLESS: Final = frozenset({Verdict.OK, Verdict.INCOMPLETE, Verdict.REPLAYING})
SEVERITY: Final = {verdict: number for number, verdict in enumerate(Verdict)}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of some; of none nothing can be told."""
    return max(verdicts, key=SEVERITY.__getitem__, default=Verdict.INCOMPLETE)


class Advice(Struct, frozen=True):
    """What a verdict means and what to do first: one sentence each, and where the runbook goes on."""

    meaning: str
    first: str
    runbook: str  # an anchor of docs/operations.md


class PartitionReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One partition as one group reads it.

    Attributes:
        position, end: offsets (next to read; next to be written); None when not known.
        lag_seconds: how long the oldest record that was not read has been there; 0 when all is read; None: not known.
        owner: who reads it, where that is known.
    """

    partition: int
    position: int | None = None
    end: int | None = None
    lag_records: int | None = None
    lag_seconds: float | None = None
    verdict: Verdict = Verdict.INCOMPLETE
    owner: str = ""
    since_ms: int | None = None  # of this verdict


class GroupReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One reader of one topic: ``streams``, ``relay``, ``webhooks``, ``publisher``, or any consumer group of the cluster."""

    group: str
    topic: str
    verdict: Verdict
    lag_records: int | None = None
    lag_seconds: float | None = None
    partitions: tuple[PartitionReport, ...] = ()  # the worst first; at most ``PARTITIONS_TOLD``
    partition_count: int = 0
    verdicts: dict[str, int] = {}  # how many partitions have which
    position_records: int | None = None  # sums over all partitions of which they are known
    end_records: int | None = None
    members: int | None = None


PARTITIONS_TOLD: Final = 64
GROUPS_TOLD: Final = 500  # ours, and then the worst


class PartReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the service that is no reader of a log: the canary, rejections, endpoints, Redis, Kafka, gateways.

    ``at_ms`` is when the part said so of itself; None for what the monitor has seen.
    """

    name: str
    verdict: Verdict
    detail: str = ""
    figures: dict[str, float] = {}
    at_ms: int | None = None


class Judgement(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything at one moment."""

    at_ms: int
    monitor: str
    groups: tuple[GroupReport, ...] = ()
    parts: tuple[PartReport, ...] = ()
    every_seconds: float = 0.0  # how often it is judged; 0 when nobody does and somebody has looked for once

    @property
    def worst(self) -> Verdict:
        """The worst verdict of all."""
        return worst([*(group.verdict for group in self.groups), *(part.verdict for part in self.parts)])

    def is_fresh(self, now_ms: int) -> bool:
        """Whether it still says how things are, or nobody monitors any more."""
        return now_ms - self.at_ms <= max(TOO_OLD_SECONDS, 3 * self.every_seconds) * 1000


class Sample(Struct, frozen=True, array_like=True):
    """One point of the history, for charts: figures by series (``lag/streams``, ``canary/push``, ``events``, ...)."""

    at_ms: int
    figures: dict[str, float]


_encode = msgspec.json.Encoder().encode
_decode_judgement = msgspec.json.Decoder(Judgement).decode
_decode_part = msgspec.json.Decoder(PartReport).decode
_decode_sample = msgspec.json.Decoder(Sample).decode


def encode_operations(value: Judgement | Sample | PartReport) -> bytes:
    """As Redis keeps it."""
    return _encode(value)


def decode_judgement(stored: bytes) -> Judgement:
    """The inverse of ``encode_operations``.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decode_judgement(stored)


def decode_sample(stored: bytes) -> Sample:
    """The inverse of ``encode_operations``.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decode_sample(stored)


def decode_part(stored: bytes) -> PartReport:
    """The inverse of ``encode_operations``.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _decode_part(stored)

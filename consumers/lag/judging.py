"""From what the sources say to a judgement: the verdicts on all readers and parts. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from consumers.lag.holding import Held
from consumers.lag.parts import (
    Facts,
    Waiting,
    clocks_part,
    endpoints_part,
    is_skewed,
    kafka_part,
    redis_part,
    rejections_part,
    reported_parts,
)
from consumers.lag.samples import OURS, STREAMS, Snapshot
from consumers.lag.verdicts import Rules
from consumers.lag.windows import Windows
from schemas.operations import GroupReport, Judgement, PartReport, Sample, Verdict, worst

_MINUTE_MS: Final = 60_000
# Of other groups of the cluster the worst ones; six hours of thousands of them would fill Redis.
_OTHERS_CHARTED: Final = 20


class Judge:
    """Remembers the last minute; one for the life of a monitor."""

    def __init__(self, rules: Rules, monitor: str, every_seconds: float) -> None:
        """``monitor`` is whose judgement it is; ``every_seconds`` 0 for one that looks only once."""
        self._windows = Windows(rules)
        self._monitor = monitor
        self._every_seconds = every_seconds
        self._past: deque[Snapshot] = deque()
        self._waited: deque[Waiting] = deque()
        self._held: dict[str, Held] = {}

    def judge(self, snapshot: Snapshot, facts: Facts) -> Judgement:
        """Take in what the sources say now."""
        groups = self._windows.add(snapshot)
        # Without the groups: they are large, and a minute of them is in the windows.
        self._past.append(msgspec.structs.replace(snapshot, groups=()))
        while snapshot.at_ms - self._past[0].at_ms > _MINUTE_MS:
            self._past.popleft()
        self._note_waiting(facts, snapshot.at_ms)
        parts = self._hold(
            [
                redis_part(snapshot, facts),
                kafka_part(snapshot),
                clocks_part(snapshot.skews),
                rejections_part(self._past),
                endpoints_part(facts, snapshot.at_ms, tuple(self._waited)),
                *reported_parts(facts.reported, snapshot.at_ms),
            ],
            snapshot.at_ms,
        )
        return Judgement(
            at_ms=snapshot.at_ms,
            monitor=self._monitor,
            groups=_concerned(groups, parts, snapshot),
            parts=tuple(parts),
            every_seconds=self._every_seconds,
        )

    def _note_waiting(self, facts: Facts, at_ms: int) -> None:
        if facts.answer_seconds is not None:
            self._waited.append(Waiting(at_ms, facts.messages_waiting))
        while self._waited and at_ms - self._waited[0].at_ms > _MINUTE_MS:
            self._waited.popleft()

    def _hold(self, parts: Sequence[PartReport], at_ms: int) -> list[PartReport]:
        known, self._held = self._held, {}
        told = []
        for part in parts:
            held = self._held[part.name] = known.get(part.name) or Held()
            verdict = held.take(part.verdict, at_ms)
            told.append(part if verdict is part.verdict else msgspec.structs.replace(part, verdict=verdict))
        return told


def figures_of(judgement: Judgement) -> Sample:
    """What charts show of a judgement."""
    figures: dict[str, float] = {}
    others = [group for group in judgement.groups if group.group not in OURS]
    for group in (*(group for group in judgement.groups if group.group in OURS), *others[:_OTHERS_CHARTED]):
        if group.lag_seconds is not None:
            name = f"lag/{group.group}"
            figures[name] = max(figures.get(name, 0.0), round(group.lag_seconds, 3))
        if group.lag_records is not None:
            name = f"records/{group.group}"
            figures[name] = figures.get(name, 0.0) + group.lag_records
    for part in judgement.parts:
        kind = part_kind(part.name)
        for figure, value in part.figures.items():
            match kind, figure:
                case "rejections", "per_minute":
                    figures["rejected"] = value
                case "rejections", "events_per_minute":
                    figures["events"] = round(value / 60, 3)
                case "gateways", "connections":
                    figures["connections"] = figures.get("connections", 0.0) + value
                case "canary", stage:
                    figures[f"canary/{stage}"] = value
                case "redis", ("used_bytes" | "answer_seconds"):
                    figures[f"redis/{figure}"] = value
                case _:
                    pass
    return Sample(judgement.at_ms, figures)


def part_kind(name: str) -> str:
    """A part's name without the instance, such as ``gateways`` of ``gateways:host:8080``."""
    return name.partition(":")[0]


def _concerned(
    groups: Sequence[GroupReport], parts: Sequence[PartReport], snapshot: Snapshot
) -> tuple[GroupReport, ...]:
    """Groups with the verdicts on parts that are about them, too: a rejected event was rejected by the streams."""
    rejecting = any(part.name == "rejections" and part.verdict is Verdict.REJECTING for part in parts)
    wrong = {skew.clock for skew in snapshot.skews if is_skewed(skew)}
    told = []
    for group in groups:
        also = [group.verdict]
        if rejecting and group.group == STREAMS:
            also.append(Verdict.REJECTING)
        # Redis says how far our readers are, records say how long they wait.
        if f"records of {group.topic}" in wrong or ("redis" in wrong and group.group in OURS):
            also.append(Verdict.SKEWED)
        found = worst(also)
        told.append(group if found is group.verdict else msgspec.structs.replace(group, verdict=found))
    return tuple(told)

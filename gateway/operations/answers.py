"""What operators are told: the monitor's judgement, with what each bad verdict means and what to do first."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, structs

from schemas.advice import advice_on
from schemas.figures import rfc3339
from schemas.operations import Advice, GroupReport, Judgement, PartReport, Verdict

NOBODY_MONITORS: Final = Advice(
    "Nobody judges how the service is doing; what is shown here, if anything, is how it was.",
    "Start the monitor: `scores lag run`. If one runs, its log says why it cannot reach Redis or Kafka.",
    "alert-nobody-monitors",
)


class GroupAnswer(GroupReport, frozen=True, kw_only=True, omit_defaults=False):
    """A reader of a topic. What is null is not known; partitions leave it out."""

    alarming: bool = False
    advice: Advice | None = None  # null: nothing needs to be done


class PartAnswer(PartReport, frozen=True, kw_only=True, omit_defaults=False):
    """A part of the service that reads no topic."""

    alarming: bool = False
    advice: Advice | None = None


class OperationsAnswer(Struct, frozen=True, kw_only=True):
    """How everything is doing.

    Attributes:
        at: when that was judged; null: never yet, or not within memory.
        monitored: whether somebody judges now. When not, the rest is old.
        worst: the worst verdict of all groups and parts.
        alarming: whether somebody must look now.
        advice: what to do when nobody monitors.
        runbooks: the address of the page whose anchors the advice names; empty: docs/operations.md.
    """

    at: str | None
    age_seconds: float | None
    monitored: bool
    monitor: str
    worst: Verdict
    alarming: bool
    advice: Advice | None
    runbooks: str
    groups: tuple[GroupAnswer, ...]
    parts: tuple[PartAnswer, ...]


class HistoryAnswer(Struct, frozen=True, kw_only=True):
    """Figures over the last hours, for charts.

    Attributes:
        at: the beginning of each step, in milliseconds since 1970.
        series: by name, the highest figure of each step: an average would hide what an operator looks for. Null: none is known.
    """

    hours: int
    step_seconds: int
    at: list[int]
    series: dict[str, list[float | None]]


def operations_answer(judgement: Judgement | None, now_ms: int, runbooks: str = "") -> OperationsAnswer:
    """The judgement as it is told; None: there is none."""
    if judgement is None:
        judged, at, age = Judgement(at_ms=0, monitor=""), None, None
    else:
        judged, at = judgement, rfc3339(judgement.at_ms)
        age = max(0.0, (now_ms - judgement.at_ms) / 1000)
    monitored = judgement is not None and judgement.is_fresh(now_ms)
    return OperationsAnswer(
        at=at,
        age_seconds=age,
        monitored=monitored,
        monitor=judged.monitor,
        worst=judged.worst,
        alarming=judged.worst.alarming or not monitored,
        advice=None if monitored else NOBODY_MONITORS,
        runbooks=runbooks,
        groups=tuple(_group(group) for group in judged.groups),
        parts=tuple(_part(part) for part in judged.parts),
    )


def _group(report: GroupReport) -> GroupAnswer:
    told = {name: getattr(report, name) for name in GroupReport.__struct_fields__}
    return GroupAnswer(**told, alarming=report.verdict.alarming, advice=_advice(report.verdict, report.group))


def _part(report: PartReport) -> PartAnswer:
    told = structs.asdict(report)
    kind, _, _ = report.name.partition(":")  # an instance goes by the name of its kind
    return PartAnswer(**told, alarming=report.verdict.alarming, advice=_advice(report.verdict, kind))


def _advice(verdict: Verdict, name: str) -> Advice | None:
    return None if verdict is Verdict.OK else advice_on(verdict, name)

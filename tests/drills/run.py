"""Carries out drills one after the other, and times what they lead to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas.operations import Verdict
from tests.drills.drills import Drill
from tests.drills.prometheus import Alert
from tests.drills.seen import Seen
from tests.drills.stand import Stand

_LOOK_SECONDS: Final = 0.2
_RECOVERY_SECONDS: Final = 150.0
_ALERT_SLACK_SECONDS: Final = 6.0  # beside an alert's own patience: a scrape, a look at the rules, and ours
_PATIENT: Final = 120.0  # alerts that wait longer than that are not waited for: pending will do


@dataclass(frozen=True, slots=True)
class Options:
    """What to run.

    Attributes:
        fire: wait until alerts fire; otherwise until they are pending.
        leeway: how many times longer than promised everything may take, on a machine that has other things to do.
    """

    every_seconds: float
    drills: Sequence[Drill]
    fire: bool
    leeway: float = 1.0


@dataclass(slots=True)
class Outcome:
    """What came of one drill; seconds since the fault, None for what did not come."""

    drill: Drill
    verdict_seconds: float | None = None
    pending_seconds: float | None = None
    firing_seconds: float | None = None
    patience_seconds: float = 0.0  # of the alert
    recovered_seconds: float | None = None  # after the fault's end
    failures: list[str] = field(default_factory=list)


def run_drills(options: Options, folder: Path, say: Callable[[str], None]) -> list[Outcome]:
    """Run them; logs are in ``folder``.

    Raises:
        ScoreStreamError: a program is missing, or something did not start.
    """
    began = time.monotonic()

    def tell(line: str) -> None:
        elapsed = int(time.monotonic() - began)
        say(f"{elapsed // 60:2d}:{elapsed % 60:02d}  {line}")

    with Stand(folder, every_seconds=options.every_seconds, say=tell) as stand:
        tell("everything runs")
        patience = stand.prometheus.patience()
        if unknown := {drill.alert for drill in options.drills if drill.alert} - patience.keys():
            raise AssertionError(f"no such alerts in deploy/prometheus: {', '.join(sorted(unknown))}")
        outcomes = []
        for number, drill in enumerate(options.drills):
            run = _Run(drill, options, stand, patience.get(drill.alert, 0.0), tell)
            run.carry_out(recover=number + 1 < len(options.drills))
            outcomes.append(run.outcome)
        return outcomes


class _Run:
    def __init__(
        self,
        drill: Drill,
        options: Options,
        stand: Stand,
        patience_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self.outcome = Outcome(drill, patience_seconds=patience_seconds)
        self._drill = drill
        self._stand = stand
        self._say = say
        self._fire = options.fire and patience_seconds <= _PATIENT
        self._every = options.every_seconds
        self._leeway = options.leeway
        self._recovery_seconds = _RECOVERY_SECONDS * options.leeway
        self._before: set[tuple[str, frozenset[tuple[str, str]]]] = set()
        self._told: dict[str, Verdict] = {}
        self._happened = False

    def carry_out(self, *, recover: bool) -> None:
        """The fault, what it leads to, its end, and what that leads to."""
        if not self._quiet(self._recovery_seconds):
            self._fail(f"was not begun: {self._state()} has not come to rest")
            return
        self._before = {_identity(alert) for alert in self._stand.prometheus.alerts()}
        self._say(self._drill.name)
        begin = time.monotonic()
        with self._drill.fault(self._stand):
            if self._drill.subject:
                self._wait_for_verdict_and_alert(begin)
            else:
                self._watch(begin)
        if not self._happened:
            self._fail("what it was to show did not happen")
        end = time.monotonic()
        if recover:
            if self._quiet(self._recovery_seconds):
                self.outcome.recovered_seconds = time.monotonic() - end
                self._say(f"  all is well again after {self.outcome.recovered_seconds:.0f} s")
            else:
                self._fail(f"not well again after {self._recovery_seconds:g} s: {self._state()}")

    def _wait_for_verdict_and_alert(self, begin: float) -> None:
        drill, outcome = self._drill, self.outcome
        promised = drill.within(self._every) * self._leeway
        patience = (outcome.patience_seconds if self._fire else 0.0) + _ALERT_SLACK_SECONDS * self._leeway
        end = begin + 2 * promised + patience
        while time.monotonic() < end:
            seen = self._look()
            since = time.monotonic() - begin
            if outcome.verdict_seconds is None and seen.verdicts.get(drill.subject) is drill.verdict:
                outcome.verdict_seconds = since
                end = time.monotonic() + patience
                self._say(f"  {drill.subject} is {drill.verdict} after {since:.1f} s")
            for alert in self._stand.prometheus.alerts():
                if alert.matches(drill.alert, drill.labels):
                    self._note(alert, since)
            if outcome.verdict_seconds is not None and self._alerted:
                break
        if outcome.verdict_seconds is None:
            self._fail(f"{drill.subject} never was {drill.verdict}; in the end: {self._state()}")
        elif outcome.verdict_seconds > promised:
            self._fail(f"the verdict took {outcome.verdict_seconds:.1f} s; promised are {promised:g} s")
        if not self._alerted:
            self._fail(f"{drill.alert} {'did not fire' if self._fire else 'is not pending'}")

    @property
    def _alerted(self) -> bool:
        outcome = self.outcome
        return (outcome.firing_seconds if self._fire else outcome.pending_seconds) is not None

    def _note(self, alert: Alert, since: float) -> None:
        outcome = self.outcome
        if outcome.pending_seconds is None:
            outcome.pending_seconds = since
            self._say(f"  {alert.name} is {'firing' if alert.firing else 'pending'} after {since:.1f} s")
        if alert.firing and outcome.firing_seconds is None:
            outcome.firing_seconds = since
            self._say(f"  {alert.name} fires after {since:.1f} s")

    def _watch(self, begin: float) -> None:
        """Nobody may be judged, and nothing may fire."""
        while time.monotonic() - begin < self._drill.samples * self._every:
            self._look()
            for alert in self._stand.prometheus.alerts():
                if alert.name.startswith("ScoresReader") and _identity(alert) not in self._before:
                    self._before.add(_identity(alert))
                    self._fail(f"{alert.name} {dict(alert.labels)}")

    def _look(self) -> Seen:
        time.sleep(_LOOK_SECONDS)
        self._stand.step()
        seen = self._stand.look()
        self._happened = self._happened or self._drill.happened(self._stand, seen)
        for name, verdict in seen.alarming.items():
            if self._told.get(name) is verdict:
                continue
            self._told[name] = verdict
            if name != self._drill.subject and name not in self._drill.also:
                self._fail(
                    f"{name} is {verdict} ({seen.lag_seconds.get(name, 0):.1f} s), and nothing is wrong with it"
                )
        return seen

    def _quiet(self, seconds: float) -> bool:
        """Wait until nobody is judged any more, and the alert that is to come has not come."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)
            self._stand.step()
            seen = self._stand.look()
            if seen.verdicts and not seen.alarming:
                alerts = self._stand.prometheus.alerts()
                if not any(alert.matches(self._drill.alert, self._drill.labels) for alert in alerts):
                    return True
        return False

    def _state(self) -> str:
        seen = self._stand.look()
        return ", ".join(f"{name} {verdict}" for name, verdict in seen.verdicts.items()) or "no monitor"

    def _fail(self, what: str) -> None:
        self.outcome.failures.append(what)
        self._say(f"  FAILED: {what}")


def _identity(alert: Alert) -> tuple[str, frozenset[tuple[str, str]]]:
    return alert.name, frozenset(alert.labels.items())

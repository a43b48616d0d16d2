"""The drills' own eyes: what they read from the monitor's metrics, which alerts they look for, and what the handbook says of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from consumers.lag.metrics import MonitorMetrics
from schemas.operations import GroupReport, Judgement, PartReport, Verdict
from tests.drills.drills import DRILLS, Drill
from tests.drills.prometheus import Alert
from tests.drills.report import closing_table
from tests.drills.run import Options, Outcome
from tests.drills.seen import read

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml"
PAGE = Path(__file__).parents[2] / "docs" / "operations" / "drills.md"


def test_a_reader_of_two_topics_is_as_bad_as_the_worse() -> None:
    registry = CollectorRegistry()
    metrics = MonitorMetrics(registry)
    metrics.judged.judgement = Judgement(
        at_ms=0,
        monitor="a monitor",
        groups=(
            GroupReport(group="relay", topic="cells", verdict=Verdict.STOP, lag_seconds=12.5),
            GroupReport(group="relay", topic="results", verdict=Verdict.OK, lag_seconds=0.0),
        ),
        parts=(PartReport(name="redis", verdict=Verdict.OK),),
    )
    seen = read(generate_latest(registry).decode())
    assert seen.verdicts == {"relay": Verdict.STOP, "redis": Verdict.OK}
    assert seen.alarming == {"relay": Verdict.STOP}
    assert seen.lag_seconds["relay"] == 12.5


def test_a_monitor_that_stands_by_says_nothing_of_anybody() -> None:
    registry = CollectorRegistry()
    MonitorMetrics(registry)
    assert read(generate_latest(registry).decode()).verdicts == {}


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.argument)
def test_every_alert_of_a_drill_is_deployed(drill: Drill) -> None:
    assert not drill.alert or f"- alert: {drill.alert}\n" in ALERTS.read_text()


def test_an_alert_of_another_reader_is_not_taken_for_the_one_that_has_to_come() -> None:
    alert = Alert("ScoresReaderStopped", {"group": "relay", "topic": "cells"}, firing=True)
    assert alert.matches("ScoresReaderStopped", {"group": "relay"})
    assert not alert.matches("ScoresReaderStopped", {"group": "streams"})


def test_the_table_names_what_failed() -> None:
    outcome = Outcome(DRILLS[-1], verdict_seconds=1.25, failures=["the alert did not come"])
    table = closing_table(Options(5, DRILLS[-1:], fire=True), [outcome])
    assert "1 drills, 1 failures" in table
    assert f"FAILED: {DRILLS[-1].name}: the alert did not come" in table


def rows() -> dict[str, list[str]]:
    """The cells of the page's table, by the name of the drill."""
    found = re.findall(r"^\| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    cells = [line.split(" | ") for line in found]
    return {name: rest for name, *rest in cells if name != "Drill"}


def test_every_drill_is_in_the_handbook_in_the_order_in_which_it_comes() -> None:
    assert list(rows()) == [drill.name for drill in DRILLS]


@pytest.mark.parametrize("drill", DRILLS, ids=lambda drill: drill.argument)
def test_handbook_names_the_verdict_and_the_alert_of_a_drill(drill: Drill) -> None:
    _, verdict, alert = rows()[drill.name]
    if not drill.subject:
        assert (verdict.partition(":")[0], alert.partition(" ")[0]) == ("none", "none")
        return
    assert f"`{drill.subject}`" in verdict
    assert f"#verdict-{drill.verdict})" in verdict
    anchor = re.sub(r"(?<!^)(?=[A-Z])", "-", drill.alert.removeprefix("Scores")).lower()
    assert f"#alert-{anchor})" in alert


def test_no_two_drills_are_called_alike_on_the_command_line() -> None:
    assert len({drill.argument for drill in DRILLS}) == len(DRILLS)

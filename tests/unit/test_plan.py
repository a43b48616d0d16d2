"""``scores plan`` calculates with what was measured, and says where that stands."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import cli.plan.measured as figures
from cli.__main__ import app
from cli.plan.calculating import MOST_PARTITIONS, make_plan
from cli.plan.demand import Demand
from cli.plan.measured import Assumed, Measured
from cli.plan.showing import shown

ROOT = Path(__file__).parents[2]
STATE = Demand(students=3_200_000, viewers=15_000)
MEASURED = {name: value for name, value in vars(figures).items() if isinstance(value, Measured)}
ASSUMED = {name: value for name, value in vars(figures).items() if isinstance(value, Assumed)}


def section(figure: Measured) -> str:
    """The section that a figure names, on one line."""
    text = (ROOT / figure.file).read_text(encoding="utf-8")
    _, found, after = f"\n{text}".partition(f"# {figure.section}\n")
    assert found, f"{figure.file} has no section '{figure.section}'"
    return " ".join(re.split(r"\n#+ ", after)[0].split())


@pytest.mark.parametrize("figure", MEASURED.values(), ids=MEASURED.keys())
def test_figure_stands_where_the_plan_says_that_it_was_measured(figure: Measured) -> None:
    assert figure.said in section(figure)
    numbers = {float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", figure.said)}
    derived = {15_000.0, 610.0}  # 200 cells watched by 75 streams each; 450 and 160
    assert figure.value in numbers or figure.value in derived


def test_what_is_only_assumed_says_so_and_why() -> None:
    assert ASSUMED
    for assumption in ASSUMED.values():
        assert assumption.source.startswith("assumed: ") and len(assumption.why) > 10


def test_every_measured_figure_is_used() -> None:
    used = {source for line in make_plan(STATE).lines for source in line.sources}
    assert {name for name, figure in (MEASURED | ASSUMED).items() if figure not in used} <= {
        "SEASON_SCHOOLS",  # how many schools there are, which no line is about
        "STATE_EXAMS_AN_HOUR",  # the default of what is asked
    }


def test_state_needs_what_was_calculated_by_hand() -> None:
    plan = make_plan(STATE)
    # 1,500,000 exams an hour are 416.7/s. A worker is planned for 7,520/s: one, and one to spare.
    assert (plan["workers"], plan["partitions"], plan["redis_masters"]) == (2, 8, 1)
    # 15,000 messages a second are 0.49 cores, new streams 25/s of 0.91 ms: a little more than half a core, so two, and one to spare.
    assert plan["gateways"] == 3
    assert plan["redis_tables_gib"] == pytest.approx(10_000_000 * 102.1 / 2**30)
    assert plan["kafka_results_gib"] == pytest.approx(11_000_000 * 553 * 3 / 2**30)
    assert plan["rebuild_minutes"] == pytest.approx(11_000_000 / 17_881 / 60)


@pytest.mark.parametrize(
    ("events", "workers", "masters", "partitions"),
    [
        pytest.param(1.0, 2, 1, 8, id="a quiet day"),
        pytest.param(7_500.0, 2, 1, 8, id="just within half of a worker"),
        pytest.param(7_600.0, 3, 1, 8, id="a little more"),
        pytest.param(50_000.0, 8, 6, 32, id="a backlog: 6.6 workers, 5.5 masters of 4 partitions"),
    ],
)
def test_workers_masters_and_partitions_follow_the_events(
    events: float, workers: int, masters: int, partitions: int
) -> None:
    plan = make_plan(replace(STATE, events_per_second=events))
    assert (plan["workers"], plan["redis_masters"], plan["partitions"]) == (workers, masters, partitions)


def test_more_of_anything_never_needs_less() -> None:
    before = make_plan(Demand(100_000, 100))
    for more in (
        Demand(200_000, 100),
        Demand(100_000, 50_000),
        Demand(100_000, 100, events_per_second=90_000),
        Demand(100_000, 100, years=3),
        Demand(100_000, 100, copies=5),
    ):
        after = make_plan(more)
        for line in before.lines:
            if line.name in {"reconnect_seconds", "gateway_mb"}:
                continue  # with more gateways there are fewer streams on each
            assert after[line.name] >= line.value, (line.name, more)


def test_records_of_imports_go_after_their_days_and_the_index_stays() -> None:
    one, ten = (make_plan(replace(STATE, years=years))["redis_imports_gib"] for years in (1, 10))
    index = 9 * 10_000_000 * 131
    records = 11_000_000 * 610 * (400 / 365 - 1)
    assert ten - one == pytest.approx((index + records) / 2**30)


def test_several_masters_and_too_many_partitions_are_remarked_upon() -> None:
    assert "Redis Cluster" in make_plan(replace(STATE, events_per_second=20_000)).notes[0]
    flood = make_plan(replace(STATE, events_per_second=10_000_000))
    assert flood["partitions"] > MOST_PARTITIONS
    assert any(str(MOST_PARTITIONS) in note for note in flood.notes)


def test_district_with_one_viewer_gets_a_plan() -> None:
    plan = make_plan(Demand(students=1, viewers=0))
    assert plan["gateways"] == 2
    assert all(line.value >= 0 for line in plan.lines)


def test_table_names_every_figure_with_its_sources() -> None:
    result = CliRunner().invoke(app, ["plan", "--students", "3200000", "--viewers", "15000"])
    assert result.exit_code == 0
    for words in ("Partitions", "bench/RESULTS.md, Push", "assumed: one of them may be away"):
        assert words in result.output


def test_json_has_the_same_figures_and_nothing_else() -> None:
    asked = ["plan", "--students", "3200000", "--viewers", "15000", "--events-per-second", "5000", "--json"]
    result = CliRunner().invoke(app, asked)
    body = json.loads(result.stdout)
    plan = make_plan(replace(STATE, events_per_second=5_000))
    assert body["asked"]["events_per_second"] == 5_000
    assert {name: line["value"] for name, line in body["plan"].items()} == {
        line.name: round(line.value, 2) for line in plan.lines
    }
    assert all(line["how"] for line in body["plan"].values())


@pytest.mark.parametrize("option", ["--students", "--viewers"])
def test_plan_for_less_than_nobody_is_wrong_usage(option: str) -> None:
    asked = {"--students": "10", "--viewers": "10", option: "-1"}
    result = CliRunner().invoke(app, ["plan", *(word for pair in asked.items() for word in pair)])
    assert result.exit_code == 2


def test_handbook_shows_the_plan_that_the_command_makes() -> None:
    page = (ROOT / "docs" / "operations" / "capacity.md").read_text(encoding="utf-8")
    for line in make_plan(STATE).lines:
        assert f"| {line.what} | {shown(line)} | {line.how} |" in page

"""How a panel of our dashboards is drawn. What they show is in ``deploy.boards``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common as choices
from grafana_foundation_sdk.models import dashboard as models

DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="scores-prometheus")
_HEIGHT: Final = 7
_FULL_WIDTH: Final = 24


class Shape(Enum):
    """What a panel looks like."""

    LINES = "lines"
    NUMBER = "number"
    TIMELINE = "timeline"  # a bar for each series while it has a value


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        queries: PromQL and the name of its series, in which ``{{label}}`` is replaced.
        unit: as Grafana calls it; "ops" is anything a second.
        limits: from where on it is orange and then red; with one limit, red.
        width: of 24.
        why: shown at the panel's title.
    """

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    shape: Shape = Shape.LINES
    limits: tuple[float, ...] = ()
    width: int = 8
    why: str = ""


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard: its file's name and its panels by row."""

    name: str
    title: str
    about: str
    rows: Sequence[tuple[str, Sequence[Panel]]]


def built(board: Board) -> models.Dashboard:
    """The board as Grafana reads it."""
    made = (
        dashboard.Dashboard(f"Scores: {board.title}")
        .uid(f"scores-{board.name}")
        .description(board.about)
        .tags(["scores"])
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("10s")
        .readonly()  # a change that is not in deploy/boards would be lost
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Other dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags(["scores"])
            .as_dropdown(True)
            .keep_time(True)
        )
    )
    number = 0
    for title, panels in board.rows:
        number += 1
        made.with_row(dashboard.Row(title).id(number))
        for panel in panels:
            number += 1
            made.with_panel(_drawn(panel).id(number))
    return made.build()


_Drawn = timeseries.Panel | stat.Panel | statetimeline.Panel


def _drawn(panel: Panel) -> _Drawn:
    drawn = _shaped(panel)
    drawn.title(panel.title).datasource(DATASOURCE).unit(panel.unit).height(_HEIGHT).span(panel.width)
    if panel.why:
        drawn.description(panel.why)
    for letter, (expression, legend) in zip("ABCDEFGH", panel.queries, strict=False):
        drawn.with_target(
            prometheus.Dataquery()
            .ref_id(letter)
            .expr(expression)
            .legend_format(legend)
            .datasource(DATASOURCE)
        )
    drawn.thresholds(_thresholds(panel.limits))
    return drawn


def _shaped(panel: Panel) -> _Drawn:
    if panel.shape is Shape.NUMBER:
        return (
            stat.Panel()
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .graph_mode(choices.BigValueGraphMode.AREA)
            .color_mode(choices.BigValueColorMode.VALUE)
            .color_scheme(_by_thresholds())
            .no_value("–")
        )
    if panel.shape is Shape.TIMELINE:
        return (
            statetimeline.Panel()
            .show_value(choices.VisibilityMode.NEVER)
            .row_height(0.8)
            .color_scheme(_by_thresholds())
            .no_value("nothing")
        )
    lines = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(5)
        .show_points(choices.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(choices.LegendDisplayMode.LIST)
            .placement(choices.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(choices.TooltipDisplayMode.MULTI))
        .axis_soft_min(0)
    )
    if panel.limits:
        lines.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(choices.GraphTresholdsStyleMode.DASHED)
        )
    return lines


def _by_thresholds() -> dashboard.FieldColor:
    return dashboard.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)


def _thresholds(limits: tuple[float, ...]) -> dashboard.ThresholdsConfig:
    colours = ("orange", "red") if len(limits) > 1 else ("red",)
    steps = [models.Threshold(value=None, color="green")]
    steps += [
        models.Threshold(value=limit, color=colour) for limit, colour in zip(limits, colours, strict=False)
    ]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)

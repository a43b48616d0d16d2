"""Dashboards, rules and alerts speak of what the processes really have; ``tests/integration/test_alerts.py`` lets them fire."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client import CollectorRegistry

import gateway.metrics
import gateway.publisher.metrics
import streams.metrics
import streams.relay.metrics
from cli.supervisor import COMMANDS
from consumers.lag.canary.metrics import CanaryMetrics
from consumers.lag.metrics import MonitorMetrics
from consumers.lag.samples import OURS
from consumers.webhooks.delivery_metrics import DeliveryMetrics
from consumers.webhooks.metrics import WorkerMetrics
from deploy.dashboards import FOLDER, made
from gateway.sse import CloseReason
from schemas.operations import GroupReport, Judgement, PartitionReport, PartReport, Verdict
from schemas.process.facts import tell_of_process

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
OF_PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity"}}
EVERYWHERE = {"le", "job", "instance"}

LITERAL = re.compile(r'"[^"]*"')
NAME = re.compile(r"\b(?:scores[_:][a-z0-9_:]+|up\b|ALERTS\b)")
MATCHED = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"\bby \(([^)]*)\)")
SELECTED = re.compile(r"(scores[_:][a-z0-9_:]+)\{([^}]*)\}")
SHOWN = re.compile(r"\{\{([a-z]+)\}\}")


class Query(NamedTuple):
    """PromQL, and which labels the text beside it shows."""

    where: str
    expression: str
    shown: frozenset[str]


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


RECORDED = rules("rules.yml")
ALERTS = rules("alerts.yml")


def queries() -> Iterator[Query]:
    for rule in RECORDED:
        yield Query(rule["record"], rule["expr"], frozenset())
    for alert in ALERTS:
        shown = re.findall(
            r"\$labels\.(\w+)", alert["annotations"]["summary"] + alert["annotations"]["description"]
        )
        yield Query(alert["alert"], alert["expr"], frozenset(shown))
    for name, content in made().items():
        for panel in json.loads(content)["panels"]:
            for target in panel.get("targets", ()):
                shown = SHOWN.findall(target["legendFormat"])
                yield Query(f"{name}: {panel['title']}", target["expr"], frozenset(shown))


QUERIES = list(queries())


def registries() -> Iterator[CollectorRegistry]:
    """One of each process, with something in those that make their metrics when they are asked."""
    yield streams.metrics.Metrics().registry
    yield streams.relay.metrics.Metrics().registry
    yield gateway.publisher.metrics.Metrics().registry
    of_gateway = gateway.metrics.Metrics()
    of_gateway.frames.count("put")
    yield of_gateway.registry
    of_worker = CollectorRegistry()
    WorkerMetrics(of_worker)
    DeliveryMetrics(of_worker)
    tell_of_process(of_worker)
    yield of_worker
    of_canary = CollectorRegistry()
    CanaryMetrics(of_canary)
    yield of_canary
    of_monitor = CollectorRegistry()
    MonitorMetrics(of_monitor).judged.judgement = Judgement(
        at_ms=0,
        monitor="of the tests",
        groups=(
            GroupReport(
                group="streams",
                topic="results",
                verdict=Verdict.OK,
                lag_records=1,
                lag_seconds=1.0,
                partitions=(PartitionReport(partition=0, lag_records=1, lag_seconds=1.0),),
                partition_count=1,
                position_records=1,
                end_records=2,
            ),
        ),
        parts=(
            PartReport(name="clocks", verdict=Verdict.OK, figures={"redis_seconds": 0.0}),
            PartReport(
                name="redis",
                verdict=Verdict.OK,
                figures={"used_bytes": 1, "limit_bytes": 2, "answer_seconds": 0.1},
            ),
        ),
    )
    yield of_monitor


@cache
def known() -> dict[str, set[str]]:
    """Every series that some process can have, and the labels by which it is told apart."""
    found = {name: set(labels) for name, labels in OF_PROMETHEUS.items()}
    for registry in registries():
        # Of a metric with labels nothing is collected before it counts; which ones it has, only the registry knows.
        for name, collector in registry._names_to_collectors.items():
            found.setdefault(name, set()).update(getattr(collector, "_labelnames", ()))
        for family in registry.collect():
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    for rule in RECORDED:
        grouped = {
            label.strip() for labels in GROUPED.findall(rule["expr"])[:1] for label in labels.split(",")
        }
        found.setdefault(rule["record"], set()).update((grouped | rule.get("labels", {}).keys()) - {"le"})
    return found


def names(expression: str) -> set[str]:
    return set(NAME.findall(LITERAL.sub('""', expression)))


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_every_metric_that_is_asked_for_is_one_that_a_process_has(query: Query) -> None:
    assert names(query.expression), "asks for nothing"
    assert names(query.expression) - known().keys() == set()


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
def test_metrics_are_told_apart_by_labels_that_they_have(query: Query) -> None:
    for name, matchers in SELECTED.findall(query.expression):
        asked = {label for label, _, _ in MATCHED.findall(matchers)}
        assert asked - known()[name] - EVERYWHERE == set(), name
    had = set().union(*(known()[name] for name in names(query.expression))) | EVERYWHERE
    grouped = {label.strip() for labels in GROUPED.findall(query.expression) for label in labels.split(",")}
    assert (grouped | query.shown) - had == set()


@pytest.mark.parametrize("metric", ["scores_freshness_seconds", "scores_canary_latency_seconds"])
def test_what_the_objective_is_measured_by_has_a_bucket_that_ends_at_two_seconds(metric: str) -> None:
    ends = {
        sample.labels["le"]
        for registry in registries()
        for family in registry.collect()
        for sample in family.samples
        if sample.name == f"{metric}_bucket"
    }
    assert "2.0" in ends


def test_every_verdict_that_alarms_raises_an_alert_for_our_readers() -> None:
    raised = {
        found[1]
        for alert in ALERTS
        for found in re.finditer(r'scores:reader:state\{verdict="(\w+)"', alert["expr"])
    }
    assert raised == {verdict.value for verdict in Verdict if verdict.alarming}


def test_verdicts_groups_and_reasons_are_called_what_the_code_calls_them() -> None:
    may_be = {
        "verdict": {verdict.value for verdict in Verdict},
        "group": set(OURS),
        "outcome": {reason.text for reason in CloseReason},
    }
    for query in QUERIES:
        for label, _, values in MATCHED.findall(query.expression):
            assert set(values.split("|")) <= may_be.get(label, set(values.split("|"))), query.where
        for name, matchers in SELECTED.findall(query.expression):
            for label, _, value in MATCHED.findall(matchers):
                if (name, label) == ("scores_sse_closes_total", "reason"):
                    assert value in {reason.text for reason in CloseReason}


def test_what_is_left_out_as_harmless_is_what_does_not_alarm() -> None:
    harmless = {verdict.value for verdict in Verdict if not verdict.alarming}
    left_out = [
        set(values.split("|"))
        for query in QUERIES
        for label, operator, values in MATCHED.findall(query.expression)
        if (label, operator) == ("verdict", "!~")
    ]
    assert left_out
    assert all(harmless <= values for values in left_out)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alert_says_how_urgent_it_is_what_happens_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    words = re.findall("[A-Z][a-z]*", alert["alert"].removeprefix("Scores"))
    assert anchor == "-".join(["alert", *words]).lower()
    assert anchor in anchors(ROOT / page)


@cache
def anchors(page: Path) -> set[str]:
    """Of a page's headings, as a reader's link finds them."""
    headings = re.findall(r"^#+ +(.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_alerts_have_names_of_their_own() -> None:
    called = [alert["alert"] for alert in ALERTS]
    assert sorted(set(called)) == sorted(called)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_fires_in_a_scenario_and_is_silent_in_another(alert: dict[str, Any]) -> None:
    answers = [
        {sample["labels"] for sample in check["exp_samples"]}
        for file in ("alerts_test.yml", "objective_test.yml")
        for scenario in yaml.safe_load((PROMETHEUS / file).read_text(encoding="utf-8"))["tests"]
        for check in scenario.get("promql_expr_test", ())
        if "ALERTS" in check["expr"]
    ]
    said = f'alertname="{alert["alert"]}", severity="{alert["labels"]["severity"]}"'
    fires = [any(said in labels for labels in answer) for answer in answers]
    assert any(fires)
    assert not all(fires)


def test_dashboards_are_those_that_the_program_makes() -> None:
    stored = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.glob("*.json")}
    assert stored == made(), "run: python -m deploy.dashboards"


def test_no_panel_covers_another_and_none_is_empty() -> None:
    for content in made().values():
        panels = json.loads(content)["panels"]
        taken = [
            (x, y)
            for place in (panel["gridPos"] for panel in panels)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        ]
        assert len(set(taken)) == len(taken)
        assert max(x for x, _ in taken) < 24
        assert all(panel["targets"] for panel in panels if panel["type"] != "row")


def test_prometheus_asks_every_process_at_the_port_that_it_has_in_its_container() -> None:
    jobs = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    asked = {
        (job["job_name"], source["names"][0], source["port"])
        for job in jobs
        for source in job["dns_sd_configs"]
    }
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    listening = {
        (f"scores-{name}", name, int(port))
        for name in COMMANDS
        for variable, port in services[name]["environment"].items()
        if variable.endswith("_METRICS_PORT") or variable == "SCORES_GATEWAY_PORT"
    }
    assert asked == listening
    gone = next(alert for alert in ALERTS if alert["alert"] == "ScoresServiceGone")
    assert set(re.findall(r'job="(.+?)"', gone["expr"])) == {job for job, _, _ in asked}


def test_grafana_finds_the_dashboards_and_the_source_that_they_name() -> None:
    provisioning = FOLDER / "provisioning"
    source = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text(encoding="utf-8"))
    uids = {
        panel["datasource"]["uid"]
        for content in made().values()
        for panel in json.loads(content)["panels"]
        if "datasource" in panel
    }
    assert uids == {source["datasources"][0]["uid"]}
    provider = yaml.safe_load((provisioning / "dashboards/scores.yml").read_text(encoding="utf-8"))
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    mounted = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    inside = {target: ROOT / folder for folder, target in mounted.items()}
    assert inside[provider["providers"][0]["options"]["path"]].resolve() == FOLDER
    assert inside["/etc/grafana/provisioning"].resolve() == provisioning
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.name in made()


def test_monitoring_starts_only_when_it_is_asked_for() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    assert {name for name, service in services.items() if service.get("profiles") == ["monitoring"]} == {
        "canary",
        "prometheus",
        "grafana",
    }
    for name, service in services.items():
        if "profiles" not in service:
            assert not {"prometheus", "grafana"} & set(service.get("depends_on", {})), name

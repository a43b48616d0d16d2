"""Prometheus' own tool checks the configuration and lets every alert fire, scenario by scenario."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.dashboards import made

PROMETHEUS = Path(__file__).parents[2] / "deploy/prometheus"


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("not run: promtool is not installed; on Debian: apt install prometheus")
    return subprocess.run(
        [program, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False, timeout=300
    )


def test_prometheus_accepts_its_configuration_and_the_rules() -> None:
    answer = promtool("check", "config", "--lint-fatal", "prometheus.yml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("scenarios", ["alerts_test.yml", "objective_test.yml"])
def test_alerts_fire_when_they_must_and_are_silent_when_they_must_not(scenarios: str) -> None:
    answer = promtool("test", "rules", scenarios)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_prometheus_understands_every_question_of_the_dashboards(tmp_path: Path) -> None:
    questions = [
        target["expr"].replace("$__rate_interval", "1m")
        for content in made().values()
        for panel in json.loads(content)["panels"]
        for target in panel.get("targets", ())
    ]
    rules = [{"record": f"panel:{number}", "expr": question} for number, question in enumerate(questions)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    answer = promtool("check", "rules", str(file))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert f"{len(questions)} rules found" in answer.stdout

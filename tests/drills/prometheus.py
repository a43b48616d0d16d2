"""Prometheus itself, with the rules and alerts that are deployed, but asking and judging each second."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Self

import httpx

from cli.stack.child import Child
from cli.stack.ports import HOST, free_port
from schemas.errors import InvalidInput
from tests.stack import wait_for

_DEPLOYED: Final = Path(__file__).parents[2] / "deploy" / "prometheus"
_SECONDS: Final = 1  # between two scrapes, and between two looks at the rules
_START_SECONDS: Final = 30.0


class Alert(NamedTuple):
    """One alert that is not at rest."""

    name: str
    labels: Mapping[str, str]
    firing: bool  # otherwise it waits for its time to be over

    def matches(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether it is that one, with these labels and perhaps more."""
        return self.name == name and all(self.labels.get(key) == value for key, value in labels.items())


class Prometheus:
    """Runs inside ``with``.

    Args:
        targets: job to port on this machine.
        folder: its data and log.
    """

    def __init__(self, targets: Mapping[str, int], folder: Path) -> None:
        binary = shutil.which("prometheus")
        if binary is None:
            raise InvalidInput("prometheus is not on the PATH; on Debian and Ubuntu: apt install prometheus")
        self._binary = binary
        self._targets = targets
        self._folder = folder
        self._url = ""
        self._child: Child | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True)
        port = free_port()
        self._url = f"http://{HOST}:{port}"
        configuration = self._folder / "prometheus.json"  # JSON is YAML
        configuration.write_text(json.dumps(self._configuration(), indent=2))
        self._child = Child(
            "Prometheus",
            [
                self._binary,
                f"--config.file={configuration}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address={HOST}:{port}",
                "--log.level=warn",
            ],
            cwd=self._folder,
            log=self._folder / "prometheus.log",
        )
        wait_for(self._ready, "Prometheus is ready", _START_SECONDS)
        return self

    def __exit__(self, *error: object) -> None:
        if self._child is not None:
            self._child.stop(2.0)

    def alerts(self) -> list[Alert]:
        """Those that fire, and those that will if it goes on."""
        answer = httpx.get(f"{self._url}/api/v1/alerts", timeout=5).raise_for_status().json()
        return [
            Alert(found["labels"]["alertname"], found["labels"], found["state"] == "firing")
            for found in answer["data"]["alerts"]
        ]

    def patience(self) -> dict[str, float]:
        """How many seconds each alert waits before it fires."""
        answer = httpx.get(f"{self._url}/api/v1/rules?type=alert", timeout=5).raise_for_status().json()
        return {
            rule["name"]: float(rule["duration"])
            for group in answer["data"]["groups"]
            for rule in group["rules"]
        }

    def _ready(self) -> bool:
        assert self._child is not None
        if not self._child.running:
            raise self._child.failure("ended")
        try:
            return httpx.get(f"{self._url}/-/ready", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def _configuration(self) -> dict[str, object]:
        often = f"{_SECONDS}s"
        return {
            "global": {
                "scrape_interval": often,
                "scrape_timeout": often,
                "evaluation_interval": often,
            },
            "rule_files": [str(_DEPLOYED / "rules.yml"), str(_DEPLOYED / "alerts.yml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{port}"]}]}
                for job, port in self._targets.items()
            ],
        }

"""Every process of the local stack with a metrics port of its own, JSON logs and, if wanted, a collector of traces."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest
from stack import wait_for

from cli.load_entities import load_entities
from cli.local_stack import LocalStack
from cli.stack.ports import free_port
from cli.state import StateFolder
from cli.supervisor import COMMANDS
from schemas.access.permissions import Grant
from schemas.access.roles import IMPORT_ROLE, READER_ROLE
from schemas.identifiers import STATE

DISTRICT: Final = "99123450000000"
SCHOOL: Final = "99123450000011"
SCHOOL_NAME: Final = "Cedar Elementary"
SUBJECT: Final = "loader@example.test"
_DIRECTORY: Final = (
    f"cds,name,kind\n99000000000000,Alder County,county\n{DISTRICT},Birch Valley Unified,district\n"
    f"{SCHOOL},{SCHOOL_NAME},school\n"
)
_START_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class WatchedStack:
    """A running stack, where its processes tell of themselves, and what they must never tell."""

    local: LocalStack
    folder: Path
    ports: Mapping[str, int]

    def token(self) -> str:
        """Of somebody who may import, and see everything."""
        grants = (Grant(IMPORT_ROLE, STATE), Grant(READER_ROLE, STATE))
        return self.local.issuer.issue(SUBJECT, grants, timedelta(hours=1))

    def page(self, process: str, path: str) -> httpx.Response:
        """One of a process's pages for operators."""
        return httpx.get(f"http://127.0.0.1:{self.ports[process]}{path}", timeout=30)

    def logs(self) -> dict[str, list[str]]:
        """Every line that each process has logged."""
        folder = self.folder / "logs"
        return {name: (folder / f"{name}.log").read_text().splitlines() for name in self.ports}

    def secrets(self) -> dict[str, str]:
        """What no log and no page may have."""
        named = {
            name: self.local.environment[name] for name in ("SCORES_STUDENT_KEY_SECRET", "SCORES_WEBHOOK_KEY")
        }
        canary = Path(self.local.environment["SCORES_CANARY_TOKEN_FILE"]).read_text().strip()
        return {**named, "the canary's token": canary}


@contextmanager
def watched_stack(kafka: str, folder: Path, **settings: str) -> Iterator[WatchedStack]:
    """All processes of the local stack on a broker, until each says that it lives, with a district in the directory."""
    ports = {name: free_port() for name in COMMANDS}
    named = {
        f"SCORES_{name.upper()}_METRICS_PORT": str(port) for name, port in ports.items() if name != "gateway"
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "SCORES_LOG_FORMAT": "json",
            "SCORES_ACCESS_LOG": "yes",
            "SCORES_UNLISTED_RELEASE_STATE": "released",
            "SCORES_CANARY_EVERY_SECONDS": "2",
            **named,
            **settings,
        }.items():
            environment.setenv(name, value)
        local = LocalStack(
            kafka=kafka,
            redis="embedded",
            gateway_port=ports["gateway"],
            partitions=2,
            state=StateFolder(folder),
        )
        with local:
            stack = WatchedStack(local, folder, ports)
            for name in ports:
                wait_for(lambda name=name: _lives(stack, name), f"{name} says that it lives", _START_SECONDS)  # type: ignore[misc]
            directory = folder / "directory.csv"
            directory.write_text(_DIRECTORY)
            assert load_entities([directory], local.kafka, local.redis_url, as_json=True) == 0
            wait_for(lambda: _shows_school(stack), "the gateway has the directory")
            yield stack


def parsed(line: str) -> dict[str, object]:
    """A line of a log; fails on one that is no JSON object."""
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def _lives(stack: WatchedStack, name: str) -> bool:
    with suppress(httpx.HTTPError):
        return stack.page(name, "/healthz").status_code == 200
    return False


def _shows_school(stack: WatchedStack) -> bool:
    answer = httpx.get(
        f"{stack.local.gateway_url}/v1/aggregates/{SCHOOL}",
        headers={"authorization": f"Bearer {stack.token()}"},
        timeout=30,
    )
    return answer.status_code == 200

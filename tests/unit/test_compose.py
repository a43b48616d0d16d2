"""The containers run what the local stack runs: the same commands, settings that exist, nothing of root's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from cli.__main__ import app
from cli.supervisor import COMMANDS

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
ENOUGH = {
    "SCORES_STUDENT_KEY_SECRET": "a secret of the tests",
    "SCORES_JWKS_FILE": "jwks.json",
    "SCORES_WEBHOOK_KEY": "a key of the tests",
    "SCORES_PUBLIC_URL": "https://scores.example",
}

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["services"]
OURS = {
    name: service for name, service in SERVICES.items() if service["image"].startswith("score-streaming:")
}
ONE_SHOT = {"topics"}


def test_every_process_of_the_local_stack_runs_in_a_container_with_the_very_same_command() -> None:
    assert {
        name: tuple(service["command"]) for name, service in OURS.items() if name not in ONE_SHOT
    } == COMMANDS


@pytest.mark.parametrize("name", OURS)
def test_every_command_in_a_container_exists_with_its_options(name: str) -> None:
    program, *words = OURS[name]["command"]
    assert program == "scores"
    options = [word for word in words if word.startswith("--")]
    first_option = words.index(options[0]) if options else len(words)
    shown = CliRunner().invoke(app, [*words[:first_option], "--help"])
    assert shown.exit_code == 0, shown.output
    assert [option for option in options if option not in shown.output] == []


def test_containers_set_only_settings_that_exist() -> None:
    explained = set(
        re.findall(r"^#?(SCORES_\w+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)
    )
    given = {variable for service in OURS.values() for variable in service["environment"]}
    assert given - explained == set()


def test_secrets_come_from_outside() -> None:
    for service in OURS.values():
        assert service["environment"]["SCORES_STUDENT_KEY_SECRET"].startswith("${SCORES_STUDENT_KEY_SECRET:?")


@pytest.mark.parametrize("name", SERVICES)
def test_container_has_no_privileges_a_limited_log_and_a_pinned_image(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert re.search(r":v?\d+(\.\d+)+(-\w+)?$", service["image"]), service["image"]
    assert service.get("user", "root") != "root" or name in OURS  # ours: the Dockerfile's USER


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ONE_SHOT))
def test_container_that_stays_is_watched_restarted_and_given_time_to_stop(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"]
    assert service["stop_grace_period"]


def test_our_containers_can_write_nothing_but_their_scratch_space() -> None:
    for name, service in OURS.items():
        assert service["read_only"] is True
        # The audit of whoever discloses results outlives them.
        assert service.get("volumes", []) == (
            ["audit-data:/var/lib/scores/audit"] if name in ("gateway", "webhooks") else []
        )
    assert "USER 10001:10001" in DOCKERFILE.split("FROM ")[-1]


def test_nobody_but_this_machine_reaches_the_gateway_and_the_dashboards_and_nobody_the_stores() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "gateway": ["${SCORES_GATEWAY_HOST:-127.0.0.1}:${SCORES_GATEWAY_PORT:-8080}:8080"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_redis_keeps_a_log_and_evicts_nothing() -> None:
    words = SERVICES["redis"]["command"]
    directives = dict(zip(words[1::2], words[2::2], strict=True))
    assert directives["--appendonly"] == "yes"
    assert directives["--maxmemory-policy"] == "noeviction"


def test_kafka_is_the_release_that_the_tests_run_against() -> None:
    pom = (ROOT / "cli/stack/kafka/pom.xml").read_text(encoding="utf-8")
    version = re.search(r"<kafka\.version>(.+)</kafka\.version>", pom)
    assert version
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{version[1]}"


def test_image_carries_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {service["image"] for service in OURS.values()} == {f"score-streaming:{project['version']}"}


def test_image_holds_every_package_and_the_build_context_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    copied = {
        source.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert set(packages) < copied
    assert {line[1:].rstrip("/") for line in ignore if line.startswith("!")} == copied
    assert "*" in ignore


def test_image_locks_the_build_tool_with_all_it_needs() -> None:
    wanted = re.search(r"/\^\(([a-z|-]+)\)==/", DOCKERFILE)
    assert wanted
    assert set(wanted[1].split("|")) == closure("hatchling")


def closure(name: str) -> set[str]:
    """A distribution and everything that it requires on this Python."""
    needed = {name}
    waiting = [name]
    while waiting:
        for text in requires(waiting.pop()) or []:
            requirement = Requirement(text)
            found = canonicalize_name(requirement.name)
            if found not in needed and (
                requirement.marker is None or requirement.marker.evaluate({"extra": ""})
            ):
                needed.add(found)
                waiting.append(found)
    return needed


def answers(command: list[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def compose(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Docker Compose on our file, with no setting but those given."""
    for program in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(program[0]) and answers([*program, "version"]):
            break
    else:
        pytest.skip("not run: Docker Compose does not answer")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SCORES_")}
    return subprocess.run(
        [*program, f"--file={FILE}", f"--env-file={os.devnull}", "config", *arguments],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_compose_accepts_the_file() -> None:
    answer = compose("--quiet", **ENOUGH)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


@pytest.mark.parametrize("missing", ENOUGH)
def test_compose_says_what_is_missing_and_where_to_read_about_it(missing: str) -> None:
    answer = compose("--quiet", **{name: value for name, value in ENOUGH.items() if name != missing})
    assert answer.returncode != 0
    assert missing in answer.stderr
    assert "see .env.example" in answer.stderr


def test_example_of_the_environment_is_one_that_compose_can_read() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert all(re.fullmatch(r"(#.*|[A-Z_]+=\S*|)", line) for line in lines)

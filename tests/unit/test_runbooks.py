"""The operators' handbook has a section for every verdict and alert; its links, commands, settings and metrics exist."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from cli.__main__ import app
from schemas.advice import advice_on
from schemas.operations import Verdict

ROOT = Path(__file__).parents[2]
HANDBOOK = ROOT / "docs" / "operations.md"
PAGES = (HANDBOOK, *sorted((ROOT / "docs" / "operations").glob("*.md")))
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
    if "alert" in rule
]


@functools.cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@functools.cache
def anchors(page: Path) -> frozenset[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings)


def section(anchor: str) -> str:
    """One section of the handbook."""
    for part in re.split(r"^(?=###? )", text_of(HANDBOOK), flags=re.MULTILINE):
        heading = part.split("\n", 1)[0].lstrip("# ").lower()
        if re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") == anchor:
            return part
    raise AssertionError(f"docs/operations.md has no section {anchor}")


@pytest.mark.parametrize("verdict", Verdict)
def test_verdict_has_a_section_that_says_what_to_do_and_its_advice_leads_there(verdict: Verdict) -> None:
    assert advice_on(verdict).runbook == f"verdict-{verdict}"
    body = section(f"verdict-{verdict}")
    assert "**First**" in body or not verdict.alarming
    assert len(body) > 100


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_alert_leads_to_its_section(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/operations.md"
    words = re.findall(r"[A-Z][a-z]*", rule["alert"].removeprefix("Scores"))
    assert anchor == "alert-" + "-".join(words).lower()
    body = section(anchor)
    assert f"*{rule['labels']['severity'].capitalize()}.*" in body
    assert "**First:**" in body


def test_no_section_is_about_an_alert_that_there_is_not() -> None:
    told = {anchor for anchor in anchors(HANDBOOK) if anchor.startswith("alert-")}
    assert told == {rule["annotations"]["runbook_url"].partition("#")[2] for rule in ALERTS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(page)):
        if target.startswith("http"):
            continue
        file, _, anchor = target.partition("#")
        other = (page.parent / file).resolve() if file else page
        assert other.is_file(), target
        assert not anchor or anchor in anchors(other), target


def test_every_page_is_in_the_table_of_contents() -> None:
    told = set(re.findall(r"\]\(operations/(\w+\.md)\)", text_of(HANDBOOK).split("## Verdicts")[0]))
    assert told == {page.name for page in PAGES} - {HANDBOOK.name}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    written = re.findall(r"`(scores [^`]+)`", text_of(page))
    for block in re.findall(r"^```\w*\n(.*?)^```", text_of(page), re.MULTILINE | re.DOTALL):
        written += [line for line in block.splitlines() if line.startswith("scores ")]
    for line in written:
        told = re.split(r" {2,}|  #", line)[0]
        command, path = _command(" ".join(told.split()))
        assert command is not None, f"{told}: there is no `{path}`"
        known = {name for parameter in command.params for name in parameter.opts}
        for option in re.findall(r"(?<= )--[a-z-]+", told):
            assert option in known, f"{told}: {path} has no {option}"


@functools.cache
def _all_commands() -> Any:
    return typer.main.get_command(app)


def _command(line: str) -> tuple[Any, str]:
    """The command that a line calls, as far down as its words lead; None: there is none."""
    command, path = _all_commands(), "scores"
    for word in line.split()[1:]:
        below = getattr(command, "commands", None)
        if below is None or word.startswith("-"):
            break  # its arguments; or a group that does something by itself, as `scores rebuild --keep-old`
        if word not in below:
            return None, f"{path} {word}"
        command, path = below[word], f"{path} {word}"
    return command, path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_exist(page: Path) -> None:
    known = set(re.findall(r"^#?(SCORES_[A-Z_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE))
    known |= {"SCORES_TOKEN", "SCORES_GATEWAY_URL"}  # options of commands
    assert set(re.findall(r"`(SCORES_[A-Z_]+)\b", text_of(page))) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_metrics_exist(page: Path) -> None:
    for name in set(re.findall(r"\bscores_[a-z_]+", text_of(page))):
        assert re.sub(r"_total$", "", name) in _metrics(), name


@functools.cache
def _metrics() -> frozenset[str]:
    sources = [
        path
        for folder in ("schemas", "streams", "gateway", "consumers")
        for path in (ROOT / folder).rglob("*.py")
    ]
    names = {name for path in sources for name in re.findall(r'"(scores_[a-z_]+)"', text_of(path))}
    return frozenset(re.sub(r"_total$", "", name) for name in names)

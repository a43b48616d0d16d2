"""Every verdict has a meaning, a first thing to do that can be done, and a section in the runbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from cli.__main__ import app
from schemas.advice import advice_on
from schemas.operations import Verdict

RUNBOOK = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
NAMES = (
    "",
    "streams",
    "relay",
    "publisher",
    "webhooks",
    "redis",
    "kafka",
    "clocks",
    "rejections",
    "endpoints",
    "canary",
    "gateways",
)


def anchors() -> set[str]:
    """Of all headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)
    }


@pytest.mark.parametrize("verdict", Verdict)
def test_verdict_has_a_section_in_the_runbook(verdict: Verdict) -> None:
    assert advice_on(verdict).runbook in anchors()


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("name", NAMES)
def test_advice_is_two_sentences(verdict: Verdict, name: str) -> None:
    advice = advice_on(verdict, name)
    for sentence in (advice.meaning, advice.first):
        assert sentence[0].isupper() and sentence.endswith("."), sentence


def test_every_command_that_is_advised_exists() -> None:
    advised = {
        command
        for verdict in Verdict
        for name in NAMES
        for text in (advice_on(verdict, name).meaning, advice_on(verdict, name).first)
        for command in re.findall(r"`scores ([^`]+)`", text)
    }
    assert advised
    missing = {command for command in advised if not exists(command.split())}
    assert missing == set()


def exists(words: list[str]) -> bool:
    command = get_command(app)
    for word in words:
        if word.startswith("--"):
            return any(word in parameter.opts for parameter in command.params)
        if not isinstance(command, typer.core.TyperGroup) or word not in command.commands:
            return False
        command = command.commands[word]
    return True

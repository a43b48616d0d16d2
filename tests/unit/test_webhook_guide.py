"""docs/webhooks.md and the README say of webhooks what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from cli.__main__ import app
from gateway.webhooks.wanted import NewEndpoint, asked_fields
from schemas.webhooks.endpoints import SUBSCRIBABLE, DisabledReason, Endpoint, EventType
from schemas.webhooks.payload_types import AggregateUpdated, read_payload
from schemas.webhooks.retrying import ATTEMPT_SECONDS, DISABLE_AFTER_SECONDS, SCHEDULE_SECONDS
from schemas.webhooks.signing import TOLERANCE_SECONDS

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
UNITS = {"s": 1, "min": 60, "h": 3600}


def rows(heading: str) -> list[list[str]]:
    """The table that begins with this heading, without it."""
    _, _, after = GUIDE.partition(f"| {heading} |")
    table = re.split(r"\n(?!\|)", after, maxsplit=1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


@pytest.mark.parametrize("text", [GUIDE, README], ids=["guide", "README"])
def test_endpoint_of_the_quick_start_can_be_made(text: str) -> None:
    bodies = re.findall(r"-d '(\{.*?\})'", text, re.DOTALL)
    assert bodies
    for body in bodies:
        order = msgspec.json.decode(body, type=NewEndpoint)
        assert asked_fields(order)["follows"][0].below


def test_message_of_the_guide_is_one_that_is_sent() -> None:
    [example] = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    payload = read_payload(example.encode())
    assert isinstance(payload, AggregateUpdated)
    assert msgspec.json.decode(msgspec.json.encode(payload)) == json.loads(example)


def test_every_event_is_explained_and_no_other() -> None:
    assert [row[0].strip("`") for row in rows("`type`")] == list(EventType)
    assert [event.value for event in SUBSCRIBABLE] == [row[0].strip("`") for row in rows("`type`")][:4]


def test_everything_that_an_endpoint_can_ask_for_is_explained_with_its_default() -> None:
    explained = {name: row[1].strip("`") for row in rows("Field") for name in re.findall(r"`(\w+)`", row[0])}
    elsewhere = {"url", "description", "private_network", "paused"}
    assert explained.keys() == set(NewEndpoint.__struct_fields__) - elsewhere
    usual = Endpoint(id="", url="", subject="", grants=(), follows=())
    assert explained["interval_seconds"] == str(usual.interval_seconds)
    assert explained["rate"] == f"{usual.rate:g}"
    assert explained["payload"] == usual.payload


def test_retries_come_when_the_guide_says() -> None:
    [waits] = rows("Attempt")
    said = [0 if wait == "at once" else int(wait.split()[0]) * UNITS[wait.split()[1]] for wait in waits[1:]]
    assert said == list(SCHEDULE_SECONDS)
    assert (ATTEMPT_SECONDS, TOLERANCE_SECONDS, DISABLE_AFTER_SECONDS) == (15, 300, 5 * 86_400)


def test_every_reason_for_disabling_has_a_remedy() -> None:
    remedies = {row[0] for row in rows("What you see")}
    assert {f"`disabled: {reason}`" for reason in DisabledReason} <= remedies


def test_every_command_of_the_guide_exists() -> None:
    named = {word for row in rows("You want to") for word in re.findall(r"`([a-z]+)", row[2])}
    named |= set(re.findall(r"scores webhooks ([a-z]+)", GUIDE + README))
    for command in sorted(named):
        assert CliRunner().invoke(app, ["webhooks", command, "--help"]).exit_code == 0, command

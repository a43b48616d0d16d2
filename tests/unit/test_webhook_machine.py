"""Deliveries in any order of events, and that the machine finds out what they would lack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from webhook_machine import DeliveryMachine

from consumers.webhooks import outcomes
from consumers.webhooks.allowance import Allowance
from consumers.webhooks.care import Care


def test_whatever_happens_every_endpoint_ends_with_the_latest_of_everything() -> None:
    run_state_machine_as_test(
        DeliveryMachine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )


def _always(value: object) -> Callable[..., Any]:
    return lambda *_, **__: value


@pytest.mark.parametrize(
    ("owner", "name", "without"),
    [
        pytest.param(Allowance, "available", _always(1_000), id="rate"),
        pytest.param(outcomes, "_not_before_ms", _always(0), id="circuit"),
        pytest.param(Care, "wants", _always(True), id="question"),
    ],
)
def test_the_machine_finds_out_what_delivery_lacks(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, without: Callable[..., Any]
) -> None:
    monkeypatch.setattr(owner, name, without)
    examples = settings(
        max_examples=1_000, stateful_step_count=40, deadline=None, database=None, phases=[Phase.generate]
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(DeliveryMachine, settings=examples)

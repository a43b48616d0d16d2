"""What each of several workers on one machine is told."""

from __future__ import annotations

import pytest

from cli.workers import environments
from schemas.errors import InvalidInput
from streams.settings import Settings


def settings(**more: str) -> Settings:
    return Settings.from_env({"SCORES_STUDENT_KEY_SECRET": "of no value at all", **more})


def test_workers_have_names_that_survive_restarts_and_ports_of_their_own() -> None:
    told = environments(settings(SCORES_INSTANCE_ID="east", SCORES_STREAMS_METRICS_PORT="9101"), 3)
    assert [one["SCORES_INSTANCE_ID"] for one in told] == ["east-0", "east-1", "east-2"]
    assert [one["SCORES_STREAMS_METRICS_PORT"] for one in told] == ["9101", "9102", "9103"]


def test_workers_without_a_name_are_named_after_the_host() -> None:
    given = settings()
    assert [one["SCORES_INSTANCE_ID"] for one in environments(given, 2)] == [
        f"{given.instance_id}-0",
        f"{given.instance_id}-1",
    ]


def test_no_metrics_port_means_none_for_all() -> None:
    assert {one["SCORES_STREAMS_METRICS_PORT"] for one in environments(settings(), 2)} == {"0"}


def test_ports_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InvalidInput, match="SCORES_STREAMS_METRICS_PORT is 65534"):
        environments(settings(SCORES_STREAMS_METRICS_PORT="65534"), 3)


@pytest.mark.parametrize(
    ("name", "static", "expected"),
    [("east-0", "yes", True), ("east-0", "no", False), ("-", "yes", False)],
    ids=["named", "named, but not static", "without a name"],
)
def test_static_membership_needs_a_name_and_can_be_switched_off(
    name: str, static: str, expected: bool
) -> None:
    given = settings(SCORES_INSTANCE_ID=name, SCORES_STATIC_MEMBERSHIP=static)
    assert given.static_membership is expected

"""How a process of ours ends, and what it tells its supervisor by that."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from prometheus_client import CollectorRegistry

from schemas.errors import InvalidInput, ScoreStreamError
from schemas.process import running
from schemas.process.running import Prepared, Work, run_process


@pytest.fixture(autouse=True)
def _logging_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "configure_logging", lambda log_format: None)


def ended(work: Work) -> int:
    """The exit status of a process that does this."""
    return run_process("tested", lambda: Prepared("text", 0, CollectorRegistry(), work))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_process_that_is_told_to_stop_cleans_up_and_ends_well(number: signal.Signals) -> None:
    cleaned_up = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # as closing a connection takes more than one turn
            cleaned_up.append(True)

    assert ended(work) == 0
    assert cleaned_up == [True]


def test_fault_is_told_to_the_supervisor_and_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ScoreStreamError("another relay has taken over")

    assert ended(work) == 1
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("tested", "stopped: another relay has taken over")
    ]


def test_fault_that_is_none_of_ours_ends_with_its_trace() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ended(work)


def test_wrong_settings_are_named_before_anything_begins(capsys: pytest.CaptureFixture[str]) -> None:
    def prepare() -> Prepared:
        raise InvalidInput("SCORES_REDIS_URL is missing; set it")

    assert run_process("tested", prepare) == 2
    assert capsys.readouterr().err == "SCORES_REDIS_URL is missing; set it\n"

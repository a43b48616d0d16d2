"""``scores status``: one screen with everything, and an exit status for scripts."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from judged import a_worker_wedged, all_is_well
from rich.console import Console

from cli.status import showing
from cli.status.running import AskedGateway, Running, ask_gateway, workers_of
from cli.status.showing import figure, overall, screen, show_status
from consumers.lag.looking import NOBODY
from schemas.operations import Judgement, PartReport, Verdict

READY = AskedGateway(url="http://gateway.test", ready=True, connections=1_204)
BUSY = AskedGateway(url="http://gateway.test", ready=False, reasons=("the tables are being filled",))


def gateway(answer: Callable[[httpx.Request], httpx.Response]) -> AskedGateway:
    return ask_gateway("http://gateway.test", httpx.MockTransport(answer))


def text(judgement: Judgement, asked: AskedGateway | None = READY) -> str:
    out = io.StringIO()
    running = Running(stack=4711, workers=workers_of(judgement), gateway=asked)
    Console(file=out, width=150).print(screen(judgement, running, overall(judgement, asked)))
    return out.getvalue()


def test_good_day_fits_one_screen_with_all_that_is_asked_for() -> None:
    shown = text(all_is_well(1_777_896_000_000))
    assert shown.startswith("All is well: judged 12:00:00 UTC by oak:4711")
    assert len(shown.splitlines()) <= 50
    for expected in (
        "The local stack runs (process 4711).",
        "Stream workers: worker-1, worker-2",
        "Gateway http://gateway.test: ready, 1,204 open streams",
        "960,000",  # positions
        "used 3.42 GB",
        "connections 7,410",
        "0/min",
        "failing 0",
        "webhook 310 ms",
    ):
        assert expected in shown
    assert "docs/operations.md" not in shown


def test_bad_day_names_what_needs_attention_and_what_to_do_first() -> None:
    shown = " ".join(text(a_worker_wedged(1_777_896_000_000)).split())
    assert "2 things need attention" in shown
    assert "docs/operations.md#verdict-stall" in shown and "3 of 212 endpoints fail" in shown


@pytest.mark.parametrize(
    ("verdict", "asked", "expected"),
    [
        pytest.param(Verdict.OK, READY, 0, id="all is well"),
        pytest.param(Verdict.OK, None, 0, id="all is well and no gateway is known"),
        pytest.param(Verdict.REPLAYING, READY, 0, id="a replay is on its way"),
        pytest.param(Verdict.STOP, READY, 1, id="something has stopped"),
        pytest.param(Verdict.OK, BUSY, 1, id="the gateway takes no work"),
        pytest.param(Verdict.INCOMPLETE, READY, 2, id="too few samples"),
        pytest.param(Verdict.INCOMPLETE, BUSY, 1, id="too few samples and the gateway takes no work"),
    ],
)
def test_exit_status_is_for_scripts(verdict: Verdict, asked: AskedGateway | None, expected: int) -> None:
    judgement = Judgement(at_ms=0, monitor="oak", parts=(PartReport(name="canary", verdict=verdict),))
    assert overall(judgement, asked) == expected


def test_json_is_the_answer_of_the_gateway_with_what_runs_here(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # no local stack runs there
    judgement = a_worker_wedged(1_777_896_000_000)
    monkeypatch.setattr(showing, "current_judgement", lambda kafka, redis, say: judgement)
    assert show_status(None, "redis://127.0.0.1:1/0", None, as_json=True) == 1
    told = json.loads(capfdbinary.readouterr().out)
    assert (told["status"], told["operations"]["worst"], told["running"]["gateway"]) == (1, "stall", None)
    assert told["operations"]["groups"][0]["advice"]["runbook"] == "verdict-stall"
    assert told["running"]["workers"] == ["worker-1", "worker-2"]


def test_judgement_of_the_command_itself_is_told_from_a_monitors() -> None:
    judgement = Judgement(at_ms=0, monitor=NOBODY)
    assert "Cannot tell yet: judged 00:00:00 UTC by this command" in text(judgement)


def test_gateway_is_asked_for_its_streams_and_what_keeps_it_from_work() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/readyz":
            return httpx.Response(503, json={"ready": False, "reasons": ["Redis does not answer"]})
        return httpx.Response(200, text="# TYPE scores_sse_connections gauge\nscores_sse_connections 12.0\n")

    asked = gateway(answer)
    assert (asked.ready, asked.reasons, asked.connections) == (False, ("Redis does not answer",), 12)


def test_what_is_no_gateway_or_does_not_answer_is_not_ready() -> None:
    def refuses(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    for answer in (
        refuses,
        lambda _: httpx.Response(200, text="hello"),
        lambda _: httpx.Response(200, json=[]),
    ):
        asked = gateway(answer)
        assert not asked.ready and asked.reasons


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("used_bytes", 999.0, "used 999 bytes"),
        ("used_bytes", 3.42e9, "used 3.42 GB"),
        ("answer_seconds", 0.0007, "answer 0.7 ms"),
        ("redis_seconds", -2.5, "redis -2.5 s"),
        ("per_minute", 12.0, "12/min"),
        ("events_per_minute", 24_000.0, "events 24,000/min"),
        ("messages_waiting", 1_234.0, "messages waiting 1,234"),
    ],
)
def test_figures_carry_their_unit(name: str, value: float, expected: str) -> None:
    assert figure(name, value) == expected

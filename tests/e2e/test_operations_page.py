"""The operators' page in a real browser: what it says of good days and bad ones, to whom, and on which screens."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client
from e2e.browser import Page, Pipe, chromium
from integration.gateway_fixtures import STATE, GatewayProcess, RedisServer, gateway_process, wait_until
from judged import a_worker_wedged, all_is_well, history

from schemas.access.roles import READER_ROLE, RELEASE_ROLE
from schemas.operations import (
    HISTORY,
    HISTORY_FIELD,
    PARTS,
    Judgement,
    PartReport,
    Verdict,
    decode_part,
    encode_operations,
)
from schemas.operations import STATE as JUDGED

pytestmark = pytest.mark.skipif(chromium() is None, reason="not run: there is no Chromium on this machine")

BANNER = "document.getElementById('banner').innerText"
ROWS = "[...document.querySelectorAll('#readers .readers > tbody > tr:not(.details)')]"


class Monitor:
    """Writes what a monitor would."""

    def __init__(self, url: str) -> None:
        self.redis = redis_client.Redis.from_url(url)

    def judge(self, judgement: Judgement) -> None:
        self.redis.set(JUDGED, encode_operations(judgement))

    def remember(self, hours: float = 1.0) -> None:
        self.redis.delete(HISTORY)
        for sample in history(now_ms(), hours):
            self.redis.xadd(HISTORY, {HISTORY_FIELD: encode_operations(sample)}, id=f"{sample.at_ms}-0")

    def forget(self) -> None:
        self.redis.delete(JUDGED, HISTORY)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture(scope="module")
def gateway(redis: RedisServer, worker: object) -> Iterator[GatewayProcess]:
    with gateway_process(redis.url) as running:
        yield running


@pytest.fixture
def monitor(redis: RedisServer) -> Iterator[Monitor]:
    made = Monitor(redis.url)
    made.forget()
    yield made
    made.redis.close()


@pytest.fixture
def page(running_browser: Pipe) -> Iterator[Page]:
    opened = Page(running_browser)
    opened.show_as(1280, 900)
    yield opened
    opened.close()


def open_page(page: Page, gateway: GatewayProcess, role: str = RELEASE_ROLE) -> None:
    page.open(f"{gateway.url}/ops#token={gateway.token(STATE, role=role)}")


def photograph(page: Page, name: str) -> None:
    """Keep a picture for whoever wants to look: TEST_PICTURES names the folder."""
    if folder := os.environ.get("TEST_PICTURES"):
        page.screenshot(Path(folder) / f"{name}.png")


def test_on_a_good_day_one_line_says_so_and_nothing_is_to_be_done(
    page: Page, gateway: GatewayProcess, monitor: Monitor
) -> None:
    monitor.judge(all_is_well(now_ms()))
    monitor.remember()
    open_page(page, gateway)
    page.wait_for(f"{BANNER}.includes('All is well')")
    assert page.evaluate("document.getElementById('attention').hidden")
    assert page.evaluate("document.title") == "Operations"
    assert page.evaluate("location.href") == f"{gateway.url}/ops", "the token has left the address"
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate(f"{ROWS}.map((row) => row.querySelector('button span').textContent)") == [
        "streams",
        "publisher",
        "relay",
        "webhooks",
    ]
    assert "1 other group" in page.evaluate("document.getElementById('others-title').textContent")
    gateways = page.evaluate("document.querySelector('[data-part=gateways]').innerText")
    assert "14,312" in gateways and "oak:8080" in gateways
    page.wait_for("document.querySelectorAll('.chart:not([hidden]) path.line').length >= 9")
    photograph(page, "ops-well")
    assert page.console == []


def test_a_verdict_says_what_it_means_and_what_to_do_first(
    page: Page, gateway: GatewayProcess, monitor: Monitor
) -> None:
    monitor.judge(a_worker_wedged(now_ms()))
    monitor.remember()
    open_page(page, gateway)
    page.wait_for(f"{BANNER}.includes('2 things need attention')")
    assert page.evaluate("document.title") == "⚠ stall – Operations"
    first = page.evaluate("document.querySelector('#tasks li').innerText")
    assert "streams" in first and "stall" in first and "its position does not move" in first
    assert "First: " in first and "docs/operations.md#verdict-stall" in first
    tasks = page.evaluate("[...document.querySelectorAll('#tasks li')].map((one) => one.innerText)")
    assert [("replaying" in one, "3 of 212 endpoints fail" in one) for one in tasks] == [
        (False, False),
        (False, True),
        (True, False),
    ]
    row = page.evaluate(f"{ROWS}[0].innerText")
    assert "92 s" in row and "18,231" in row and "3: 92 s" in row
    photograph(page, "ops-stall")
    assert page.console == []


def test_worst_partitions_are_unfolded_with_the_keyboard_and_stay_unfolded_over_updates(
    page: Page, gateway: GatewayProcess, monitor: Monitor
) -> None:
    monitor.judge(a_worker_wedged(now_ms()))
    open_page(page, gateway)
    page.wait_for(f"{BANNER}.includes('2 things need attention')")
    page.evaluate(f"{ROWS}[0].querySelector('button').focus()")
    page.press("Enter", 13)
    worst = "document.querySelector('.partitions tbody tr').innerText"
    page.wait_for(f"{worst}.includes('worker-2')")
    assert page.evaluate(worst).split()[:2] == ["3", "✕"]
    photograph(page, "ops-partitions")
    monitor.judge(all_is_well(now_ms()))
    page.wait_for(f"{BANNER}.includes('All is well')")
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.wait_for(f"{worst}.includes('ok')")


def test_points_of_a_chart_are_read_with_the_arrow_keys(
    page: Page, gateway: GatewayProcess, monitor: Monitor
) -> None:
    monitor.judge(all_is_well(now_ms()))
    monitor.remember()
    open_page(page, gateway)
    page.wait_for("document.querySelector('.chart path.line') !== null")
    chart = "document.querySelector('.chart svg')"
    page.evaluate(f"{chart}.focus()")
    page.press("Home", 36)
    label = page.evaluate(f"{chart}.getAttribute('aria-label')")
    assert label.startswith("Lag, ") and "streams" in label and "now" not in label
    page.press("Escape", 27)
    assert page.evaluate(f"{chart}.getAttribute('aria-label')").startswith("Lag, now: streams")


def test_several_hours_are_shown_when_asked(page: Page, gateway: GatewayProcess, monitor: Monitor) -> None:
    monitor.judge(all_is_well(now_ms()))
    monitor.remember(hours=6)
    open_page(page, gateway)
    page.wait_for("document.querySelector('.chart path.line') !== null")
    highest = "document.querySelector('.chart svg').getAttribute('aria-label').match(/Highest (.*?)\\./)[1]"
    assert page.evaluate(highest) != "40 s", "the burst was more than an hour ago"
    page.evaluate(
        "(() => { const hours = document.getElementById('hours'); hours.value = '6'; "
        "hours.dispatchEvent(new Event('change')); })()"
    )
    page.wait_for(f"{highest} === '40 s'")
    photograph(page, "ops-six-hours")


def test_when_nobody_monitors_the_page_says_so_instead_of_looking_well(
    page: Page, gateway: GatewayProcess, monitor: Monitor
) -> None:
    open_page(page, gateway)
    page.wait_for(f"{BANNER}.includes('Nobody monitors')")
    assert "scores lag run" in page.evaluate("document.querySelector('#tasks li').innerText")
    monitor.judge(all_is_well(now_ms() - 120_000))
    page.wait_for(f"{BANNER}.includes('how it was at')")
    assert page.evaluate("document.getElementById('connection-state').textContent") == "Not monitored"
    assert page.evaluate("document.title") == "⚠ not monitored – Operations"
    photograph(page, "ops-unmonitored")


def test_who_may_not_see_operations_is_told_what_is_missing_and_shown_nothing(
    page: Page, gateway: GatewayProcess, monitor: Monitor
) -> None:
    monitor.judge(all_is_well(now_ms()))
    open_page(page, gateway, role=READER_ROLE)
    page.wait_for("!document.getElementById('signin').hidden")
    assert "OPERATIONS_READ" in page.evaluate("document.getElementById('signin-why').innerText")
    assert "oak" not in page.evaluate("document.body.innerText")
    token = gateway.token(STATE, role=RELEASE_ROLE)
    page.evaluate(
        f"document.getElementById('token').value = '{token}'; document.querySelector('form button').click()"
    )
    page.wait_for(f"{BANNER}.includes('All is well')")


def test_the_page_fits_a_phone_in_both_colour_schemes(
    page: Page, gateway: GatewayProcess, monitor: Monitor
) -> None:
    monitor.judge(a_worker_wedged(now_ms()))
    monitor.remember()
    for dark in (False, True):
        page.show_as(380, 800, dark=dark)
        open_page(page, gateway)
        page.wait_for("document.querySelector('.chart path.line') !== null")
        page.evaluate(f"{ROWS}[0].querySelector('button').click()")
        wide = (
            "[...document.querySelectorAll('main *')].filter((one) => !one.closest('.scroll, .unseen, .readers > thead') && "
            "one.getBoundingClientRect().right > 381).map((one) => `${one.tagName}.${one.className}`)"
        )
        assert page.evaluate(wide) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(16, 25, 28)") is dark
        photograph(page, f"ops-phone-{'dark' if dark else 'light'}")


def test_the_page_survives_a_restart_of_the_gateway(
    page: Page, gateway: GatewayProcess, monitor: Monitor
) -> None:
    monitor.judge(all_is_well(now_ms()))
    open_page(page, gateway)
    page.wait_for(f"{BANNER}.includes('All is well')")
    gateway.stop()
    page.wait_for(f"{BANNER}.includes('Cannot tell')")
    gateway.start()
    monitor.judge(all_is_well(now_ms()))
    page.wait_for(f"{BANNER}.includes('All is well')")


def test_a_gateway_tells_of_itself_and_takes_its_leave(gateway: GatewayProcess, monitor: Monitor) -> None:
    def told() -> list[PartReport]:
        return [decode_part(one) for one in monitor.redis.hvals(PARTS)]

    wait_until(lambda: [part.verdict for part in told()] == [Verdict.OK], what="a gateway's report")
    [part] = told()
    assert part.name.startswith("gateways:") and part.name.endswith(f":{gateway.port}")
    assert part.figures == {"connections": 0.0, "most_connections": 20_000.0}
    assert part.at_ms is not None and abs(now_ms() - part.at_ms) < 60_000
    gateway.stop()
    assert told() == []
    gateway.start()

"""The web page in a real browser, against a live gateway whose tables change under it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from e2e.browser import Page, Pipe, chromium
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    DISTRICT,
    ORGANIZATIONS,
    OTHER_SCHOOL,
    SCHOOL,
    SECOND_SCHOOL,
    GatewayProcess,
    RedisServer,
    gateway_process,
)

pytestmark = pytest.mark.skipif(chromium() is None, reason="not run: there is no Chromium on this machine")

SCHOOL_CARD = "document.querySelectorAll('.card')[0]"
DISTRICT_CARD = "document.querySelectorAll('.card')[1]"


@pytest.fixture(scope="module")
def worker(redis: RedisServer) -> FakeWorker:
    made = FakeWorker(redis.url)
    made.list_organizations(ORGANIZATIONS)
    made.apply(SCHOOL, [scored(2450, 3), scored(2400, 2), scored(2500, 4)])
    made.apply(SCHOOL, [scored(2390, 2)], grade="04", test="MATH-SUM", partition=1)
    made.apply(SECOND_SCHOOL, [scored(2300, 1)], partition=1)
    made.apply(OTHER_SCHOOL, [scored(2510, 4)])
    made.serve()
    return made


@pytest.fixture(scope="module")
def gateway(redis: RedisServer, worker: FakeWorker) -> Iterator[GatewayProcess]:
    with gateway_process(redis.url) as running:
        yield running


@pytest.fixture
def page(running_browser: Pipe) -> Iterator[Page]:
    opened = Page(running_browser)
    opened.show_as(1280, 900)
    yield opened
    opened.close()


def open_page(page: Page, gateway: GatewayProcess, query: str = f"?school={SCHOOL}") -> None:
    page.open(f"{gateway.url}/{query}#token={gateway.token(DISTRICT)}")
    page.wait_for(f"{SCHOOL_CARD}?.querySelector('.mean dd').textContent")


def figure(page: Page, card: str, name: str) -> str:
    return str(page.evaluate(f"{card}.querySelector('.{name} dd').textContent"))


def test_a_school_sees_its_figures_change_beside_its_districts_without_a_reload(
    page: Page, gateway: GatewayProcess, worker: FakeWorker
) -> None:
    open_page(page, gateway)
    page.evaluate("window.notReloaded = true")
    assert page.evaluate(f"{SCHOOL_CARD}.querySelector('h3').textContent") == "Cedar Elementary"
    assert page.evaluate(f"{DISTRICT_CARD}.querySelector('h3').textContent") == "Birch Valley Unified"
    assert page.evaluate("document.querySelector('.badge').innerText").upper() == "PRELIMINARY"
    scored_before = int(figure(page, SCHOOL_CARD, "scored"))
    district_before = int(figure(page, DISTRICT_CARD, "scored"))

    worker.apply(SCHOOL, [scored(2600, 4)])

    page.wait_for(f"{SCHOOL_CARD}.querySelector('.scored dd').textContent === '{scored_before + 1}'")
    assert int(figure(page, DISTRICT_CARD, "scored")) == district_before + 1
    # The changed figures light up, the change is listed, and a screen reader is told.
    assert page.evaluate(f"{SCHOOL_CARD}.querySelector('.scored dd').classList.contains('changed')")
    page.wait_for(f"document.querySelector('#log li').innerText.includes('→ {scored_before + 1}')")
    page.wait_for(f"document.getElementById('spoken').textContent.includes('{scored_before + 1} students')")
    assert page.evaluate("window.notReloaded") is True
    assert page.console == []


def test_levels_are_shown_with_their_names_counts_and_percentages(
    page: Page, gateway: GatewayProcess, worker: FakeWorker
) -> None:
    open_page(page, gateway, f"?school={SECOND_SCHOOL}")
    shown = page.evaluate(
        f"[...{SCHOOL_CARD}.querySelectorAll('.levels li')].map((row) => row.innerText.split('\\n'))"
    )
    assert ["Standard Not Met", "1", "100.0%"] in [[part for part in row if part] for row in shown]
    spoken = page.evaluate(f"{SCHOOL_CARD}.querySelector('.bar').getAttribute('aria-label')")
    assert spoken.startswith("Standard Not Met 100.0%")


def test_the_token_leaves_the_address_bar_and_no_script_can_read_it(
    page: Page, gateway: GatewayProcess
) -> None:
    open_page(page, gateway)
    assert page.evaluate("location.href") == f"{gateway.url}/?school={SCHOOL}"
    assert page.evaluate("document.cookie") == ""


def test_a_new_link_in_the_same_tab_signs_in_with_its_token(page: Page, gateway: GatewayProcess) -> None:
    page.open(f"{gateway.url}/?school={SCHOOL}")
    page.wait_for("!document.getElementById('signin').hidden")
    page.open(f"{gateway.url}/?school={SCHOOL}#token={gateway.token(DISTRICT)}")
    page.wait_for(f"{SCHOOL_CARD}?.querySelector('.mean dd').textContent")
    assert page.evaluate("location.hash") == ""


def test_freshness_is_always_in_sight(page: Page, gateway: GatewayProcess) -> None:
    open_page(page, gateway)
    page.wait_for("document.getElementById('connection').innerText.includes('complete as of')")
    assert page.evaluate("document.getElementById('connection').dataset.state") == "live"


def test_incomplete_figures_are_announced_until_they_are_whole(
    page: Page, gateway: GatewayProcess, worker: FakeWorker
) -> None:
    open_page(page, gateway)
    page.wait_for("document.getElementById('stale').hidden")
    worker.stand_at(1, catch_up=5)
    page.wait_for("!document.getElementById('stale').hidden")
    assert "incomplete" in page.evaluate("document.getElementById('stale').innerText")
    assert "complete as of" not in page.evaluate("document.getElementById('connection').innerText")
    worker.stand_at(5, catch_up=5)
    page.wait_for("document.getElementById('stale').hidden")
    page.wait_for("document.getElementById('connection').innerText.includes('complete as of')")


def test_a_school_is_found_and_chosen_with_the_keyboard(page: Page, gateway: GatewayProcess) -> None:
    open_page(page, gateway)
    page.evaluate("document.getElementById('school').focus()")
    for character in "dogw":
        page.press(character)
    page.wait_for("document.querySelectorAll('#school-list [role=option]').length === 1")
    page.press("ArrowDown", 40)
    page.press("Enter", 13)
    page.wait_for(f"{SCHOOL_CARD}.querySelector('h3').textContent === 'Dogwood Elementary'")
    assert SECOND_SCHOOL in page.evaluate("location.search")


def test_another_grade_is_chosen_in_the_table(page: Page, gateway: GatewayProcess) -> None:
    open_page(page, gateway)
    page.evaluate(
        "[...document.querySelectorAll('tbody button')].find((b) => b.innerText === 'Grade 4').click()"
    )
    page.wait_for("document.getElementById('chosen').innerText.includes('Mathematics, Grade 4')")
    assert figure(page, SCHOOL_CARD, "mean") == "2390"
    assert page.evaluate("document.querySelectorAll('[aria-pressed=true]').length") == 1


def test_without_a_choice_the_first_school_that_the_token_opens_is_shown(
    page: Page, gateway: GatewayProcess
) -> None:
    open_page(page, gateway, "")
    assert page.evaluate(f"{SCHOOL_CARD}.querySelector('h3').textContent") == "Cedar Elementary"


def test_another_districts_school_is_not_shown(page: Page, gateway: GatewayProcess) -> None:
    open_page(page, gateway, f"?school={OTHER_SCHOOL}")
    assert page.evaluate(f"{SCHOOL_CARD}.querySelector('h3').textContent") == "Cedar Elementary"
    assert "Fir Middle" not in page.evaluate("document.body.innerText")


def test_without_a_token_the_page_asks_for_one_and_takes_it(page: Page, gateway: GatewayProcess) -> None:
    page.open(f"{gateway.url}/?school={SCHOOL}")
    page.wait_for("!document.getElementById('signin').hidden")
    page.evaluate(
        "document.getElementById('token').value = 'not.a.token'; document.querySelector('form button').click()"
    )
    page.wait_for("document.getElementById('signin-why').innerText.includes('not a token')")
    token = gateway.token(DISTRICT)
    page.evaluate(
        f"document.getElementById('token').value = '{token}'; document.querySelector('form button').click()"
    )
    page.wait_for(f"{SCHOOL_CARD}?.querySelector('.mean dd').textContent")


def test_when_the_session_ends_the_page_says_so_and_stops(page: Page, gateway: GatewayProcess) -> None:
    page.open(f"{gateway.url}/?school={SCHOOL}#token={gateway.token(DISTRICT, seconds=8)}")
    page.wait_for("!document.getElementById('signin').hidden")
    assert "session has ended" in page.evaluate("document.getElementById('signin-why').innerText")


def test_the_page_survives_a_restart_of_the_gateway_and_catches_up(
    page: Page, gateway: GatewayProcess, worker: FakeWorker
) -> None:
    open_page(page, gateway)
    page.evaluate("window.notReloaded = true")
    before = int(figure(page, SCHOOL_CARD, "scored"))
    gateway.stop()
    page.wait_for("document.getElementById('connection').dataset.state === 'reconnecting'")
    worker.apply(SCHOOL, [scored(2440, 3)])
    gateway.start()
    page.wait_for(f"{SCHOOL_CARD}.querySelector('.scored dd').textContent === '{before + 1}'")
    assert page.evaluate("window.notReloaded") is True


def test_the_page_fits_a_phone_in_both_colour_schemes(page: Page, gateway: GatewayProcess) -> None:
    for dark in (False, True):
        page.show_as(380, 800, dark=dark)
        open_page(page, gateway)
        assert page.evaluate("document.documentElement.scrollWidth") <= 380
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(16, 25, 28)") is dark

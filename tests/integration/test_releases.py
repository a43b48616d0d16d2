"""Release states from an order at the gateway through Kafka and a worker into Redis, and back to who asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from redis import Redis
from stack import broker, running_stack_processes, stack_token, wait_for

from cli.load_entities import load_entities
from cli.releases.client import ReleasesClient
from cli.releases.setting import import_releases, set_releases
from cli.releases.showing import export_releases, show_releases
from cli.stack.redis_server import EmbeddedRedis
from schemas.access.permissions import Grant
from schemas.access.roles import READER_ROLE, RELEASE_ROLE
from schemas.errors import InvalidInput
from schemas.identifiers import STATE, OrganizationId
from schemas.keys import RELEASES, RELEASES_CHANNEL, RELEASES_POSITION, RELEASES_VERSION
from schemas.releases import ReleaseKey, ReleaseState, Report

DISTRICT = OrganizationId("99123450000000")
OTHER_DISTRICT = OrganizationId("99123460000000")
UNKNOWN_DISTRICT = OrganizationId("99123990000000")
COUNTY = """cds,name,kind
99000000000000,Nonesuch,county
99123450000000,Cañada Unified,district
99123450000011,Lincoln Elementary,school
99123460000000,Birch Union,district
99123460000011,Fir Middle,school
"""
# What the tests' processes call unlisted is released: so each story begins there.
UNLISTED, REVIEWING, LOADING = ReleaseState.RELEASED, ReleaseState.REVIEWING, ReleaseState.LOADING


class Stack:
    """Broker, Redis, worker and gateway, with two districts in the directory."""

    def __init__(self, url: str, redis: Redis, folder: Path) -> None:
        self.url, self.redis, self._folder = url, redis, folder

    def client(self, role: str = RELEASE_ROLE, organization: str = STATE) -> ReleasesClient:
        return ReleasesClient(self.url, self.token(role, organization))

    def token(self, role: str, organization: str) -> str:
        return stack_token(self._folder, Grant(role, OrganizationId(organization)))

    def put(self, district: str, state: str, *, role: str, at: str, subject: str = "Math") -> httpx.Response:
        return httpx.put(
            f"{self.url}/v1/releases/2026/{district}/{subject}/aggregate",
            json={"state": state},
            headers={"Authorization": f"Bearer {self.token(role, at)}"},
            timeout=30,
        )


def key(district: OrganizationId = DISTRICT, subject: str = "Math") -> ReleaseKey:
    return ReleaseKey(2026, district, subject, Report.AGGREGATE)


def running(kind: str, folder: Path) -> Iterator[Stack]:
    file = folder / "county.csv"
    file.write_text(COUNTY, encoding="utf-8")
    with (
        broker(kind, 2, folder) as kafka,
        EmbeddedRedis() as server,
        running_stack_processes(kafka, server.url, folder) as url,
        Redis.from_url(server.url) as redis,
    ):
        assert load_entities([file], kafka, server.url, as_json=True) == 0
        stack = Stack(url, redis, folder)
        with stack.client() as client:
            wait_for(lambda: len(client.read({}).districts) == 2, "the gateway knows both districts")
        yield stack


@pytest.fixture(params=["embedded", "real"])
def either_stack(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    yield from running(request.param, tmp_path)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    yield from running("embedded", tmp_path_factory.mktemp("stack"))


@pytest.fixture
def clean(stack: Stack) -> Stack:
    """The stack with all states as at its beginning."""
    with stack.client() as client:
        listed = client.read({}).releases
        keys = [
            ReleaseKey(one.school_year, OrganizationId(one.district), one.subject, Report(one.report))
            for one in listed
        ]
        if keys:
            set_releases(client, keys, UNLISTED, as_json=True)
    return stack


def test_an_order_is_in_the_tables_and_told_when_it_is_answered_and_outlives_redis(
    either_stack: Stack,
) -> None:
    redis = either_stack.redis
    before = int(redis.get(RELEASES_VERSION) or 0)
    assert before > 0  # the topic was read, and is empty
    with either_stack.client() as client, redis.pubsub() as heard:
        heard.subscribe(RELEASES_CHANNEL)
        assert heard.get_message(timeout=60)  # subscribed
        answer = client.put(key(), REVIEWING)
        assert answer.applied
        assert [(one.before, one.state) for one in answer.changed] == [("released", "reviewing")]
        assert json.loads(redis.hget(RELEASES, key().path) or b"")["state"] == "reviewing"
        message = heard.get_message(timeout=60)
        assert message is not None
        assert int(message["data"]) == int(redis.get(RELEASES_VERSION) or 0) > before

        again = client.put(key(), REVIEWING)
        assert (again.changed, again.unchanged, again.applied) == ((), 1, True)

        known = int(redis.get(RELEASES_VERSION) or 0)
        redis.delete(RELEASES, RELEASES_VERSION, RELEASES_POSITION)
        wait_for(lambda: int(redis.get(RELEASES_VERSION) or 0) > known, "the states are read again")
        [listed] = client.read({"year": ["2026"]}).releases
        assert (listed.district, listed.subject, listed.state) == (DISTRICT, "Math", "reviewing")


def test_a_file_that_was_exported_is_imported_without_changing_anything(clean: Stack, tmp_path: Path) -> None:
    file = tmp_path / "releases.csv"
    with clean.client() as client:
        set_releases(client, [key(), key(OTHER_DISTRICT, "ELA")], REVIEWING, as_json=True)
        assert export_releases(client, {"year": ["2026"]}, file) == 0
        answer = client.send(file.read_bytes())
        assert (answer.changed, answer.applied) == ((), True)
        assert answer.unchanged >= 2

        file.write_text(file.read_text(encoding="utf-8").replace("reviewing", "Loading"), encoding="utf-8")
        changed = client.send(file.read_bytes())
        assert {(one.before, one.state) for one in changed.changed} == {("reviewing", "loading")}
        states = {(one.district, one.subject): one.state for one in client.read({}).releases}
        assert states[DISTRICT, "Math"] == states[OTHER_DISTRICT, "ELA"] == "loading"


def test_a_faulty_file_changes_nothing_and_every_fault_is_told_with_its_line(
    clean: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "releases.csv"
    file.write_text(
        "school_year,district,subject,report,state\n"
        f"2026,{DISTRICT},Math,aggregate,loading\n"
        f"2026,{DISTRICT},Maths,aggregate,loading\n"
        f"26,{OTHER_DISTRICT},ELA,aggregate,shut\n"
    )
    with clean.client() as client:
        with pytest.raises(InvalidInput) as refused:
            import_releases(client, file, as_json=True)
        assert [line.partition(":")[0].strip() for line in str(refused.value).splitlines()[1:]] == [
            "line 3, subject",
            "line 4, school_year",
            "line 4, state",
        ]
        assert all(one.state == "released" for one in client.read({}).releases)


def test_lines_of_other_districts_are_refused_with_their_numbers_and_nothing_is_changed(
    clean: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "releases.csv"
    file.write_text(
        "school_year,district,subject,report,state\n"
        f"2026,{DISTRICT},Math,aggregate,reviewing\n"
        f"2026,{OTHER_DISTRICT},Math,aggregate,reviewing\n"
        f"2026,{UNKNOWN_DISTRICT},Math,aggregate,reviewing\n"
    )
    with (
        clean.client("EMBARGO_ADMIN_RELEASED", DISTRICT) as client,
        pytest.raises(InvalidInput) as refused,
    ):
        import_releases(client, file, as_json=True)
    said = str(refused.value).splitlines()[1:]
    assert [line.partition(":")[0].strip() for line in said] == ["line 3, district", "line 4, district"]
    assert said[0].partition(":")[2] == said[1].partition(":")[2]
    with clean.client() as client:
        assert all(one.state == "released" for one in client.read({}).releases)


def test_an_unknown_district_and_anothers_are_refused_in_the_same_bytes(clean: Stack) -> None:
    answers = [
        clean.put(UNKNOWN_DISTRICT, "reviewing", role=RELEASE_ROLE, at=STATE),
        clean.put(UNKNOWN_DISTRICT, "reviewing", role="EMBARGO_ADMIN_RELEASED", at=DISTRICT),
        clean.put(OTHER_DISTRICT, "reviewing", role="EMBARGO_ADMIN_RELEASED", at=DISTRICT),
        httpx.get(
            f"{clean.url}/v1/releases",
            params={"district": OTHER_DISTRICT},
            headers={"Authorization": f"Bearer {clean.token('EMBARGO_ADMIN', DISTRICT)}"},
        ),
    ]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.content for answer in answers}) == 1


@pytest.mark.parametrize(
    ("role", "at", "state", "status", "said"),
    [
        (READER_ROLE, DISTRICT, "reviewing", 403, "TEST_DATA_REVIEWING_WRITE"),
        ("EMBARGO_ADMIN", DISTRICT, "reviewing", 403, "TEST_DATA_REVIEWING_WRITE"),
        ("EMBARGO_ADMIN_RELEASED", DISTRICT, "loading", 403, "TEST_DATA_LOADING_WRITE"),
        ("EMBARGO_ADMIN_RELEASED", DISTRICT, "reviewing", 200, "reviewing"),
        (RELEASE_ROLE, STATE, "loading", 200, "loading"),
        (RELEASE_ROLE, STATE, "open", 400, "expected one of loading, reviewing, released"),
    ],
)
def test_a_role_makes_its_own_step_and_is_told_which_permission_another_takes(
    role: str, at: str, state: str, status: int, said: str, clean: Stack
) -> None:
    answer = clean.put(DISTRICT, state, role=role, at=at)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_a_cookie_shows_states_and_changes_none(clean: Stack) -> None:
    token = clean.token(RELEASE_ROLE, STATE)
    with httpx.Client(base_url=clean.url) as browser:
        opened = browser.post("/v1/session", headers={"Authorization": f"Bearer {token}"})
        assert opened.is_success
        assert browser.get("/v1/releases").status_code == 200
        forged = browser.put(f"/v1/releases/{key().path}", json={"state": "loading"})
        assert forged.status_code == 401


def test_states_are_shown_as_a_table_and_as_json_of_the_districts_that_a_token_opens(
    clean: Stack, capfd: pytest.CaptureFixture[str]
) -> None:
    with clean.client() as client:
        set_releases(client, [key(), key(OTHER_DISTRICT)], REVIEWING, as_json=True)
    capfd.readouterr()
    with clean.client("EMBARGO_ADMIN", DISTRICT) as client:
        assert show_releases(client, {}, county=None, as_json=False) == 0
        table = capfd.readouterr().out
        assert "Cañada" in table
        assert "Birch" not in table
        assert "reviewing" in table
        assert show_releases(client, {}, county=None, as_json=True) == 0
        shown = json.loads(capfd.readouterr().out)
    assert [district["id"] for district in shown["districts"]] == [DISTRICT]
    assert {one["district"] for one in shown["releases"]} == {DISTRICT}
    assert shown["unlisted"] == "released"

"""How the service is doing, over HTTP: to operators of the state alone, with what to do, and never looking better than it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from judged import a_worker_wedged, all_is_well, history
from starlette.applications import Starlette
from starlette.requests import Request

from gateway.operations.answers import operations_answer
from gateway.operations.condensing import Condensing
from gateway.operations.routes import operations_routes
from gateway.problems import problem_response
from gateway.tokens import Principal, TokenRefused
from schemas.access.known_roles import ROLE_LEVELS
from schemas.access.permissions import Grant, Permission
from schemas.access.roles import BUILT_IN_ROLES, READER_ROLE, RELEASE_ROLE, ROLE_PERMISSIONS
from schemas.errors import ScoreStreamError
from schemas.identifiers import STATE, OrganizationId, level_of
from schemas.operations import HISTORY, HISTORY_FIELD, PartReport, Sample, Verdict, encode_operations
from schemas.operations import STATE as JUDGED

pytestmark = pytest.mark.anyio

COUNTY = "19000000000000"
DISTRICT = "19990010000000"
SCHOOL = "19990010000101"
ADDRESSES = ("/v1/operations", "/v1/operations/history")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class World:
    """An application with these routes over a Redis of two keys; who asks is said by the bearer: a role and an organization."""

    def __init__(self, runbooks: str = "") -> None:
        self.judged: bytes | None = None
        self.remembered: list[tuple[bytes, dict[bytes, bytes]]] = []
        self.asked = 0
        self._app = Starlette(
            routes=operations_routes(self, runbooks),  # type: ignore[arg-type]  # reads two keys
            exception_handlers={ScoreStreamError: self._refuse},
        )
        self._app.state.gateway = SimpleNamespace(credentials=self)

    def remember(self, samples: list[Sample]) -> None:
        self.remembered += [(b"%d-0" % one.at_ms, {HISTORY_FIELD: encode_operations(one)}) for one in samples]

    async def get(self, name: str) -> bytes | None:
        assert name == JUDGED
        self.asked += 1
        return self.judged

    async def xrange(self, name: str, min: str, count: int) -> list[tuple[bytes, dict[bytes, bytes]]]:
        assert name == HISTORY
        self.asked += 1
        first = int(min.lstrip("(").partition("-")[0]) + min.startswith("(")
        return [one for one in self.remembered if int(one[0].partition(b"-")[0]) >= first][:count]

    def by_header_or_cookie(self, request: Request) -> Principal:
        role, _, organization = (
            request.headers.get("authorization", "").removeprefix("Bearer ").partition("@")
        )
        if not role:
            raise TokenRefused("missing", "Send an access token: Authorization: Bearer TOKEN.")
        grants = (Grant(role, OrganizationId(organization)),)
        rights = BUILT_IN_ROLES.rights(grants)
        return Principal("operator@example.test", grants, datetime(2030, 1, 1, tzinfo=UTC), "t-1", rights)

    async def ask(self, address: str, *, role: str = RELEASE_ROLE, at: str = STATE) -> httpx.Response:
        headers = {"Authorization": f"Bearer {role}@{at}"} if role else {}
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway.test") as client:
            return await client.get(address, headers=headers)

    async def _refuse(self, request: Request, error: Exception) -> Any:
        return problem_response(error)


@pytest.mark.parametrize("address", ADDRESSES)
async def test_only_operations_read_at_the_state_opens_it(address: str) -> None:
    world = World()
    opened = {
        (role, organization)
        for role in ROLE_PERMISSIONS
        for organization in (STATE, COUNTY, DISTRICT, SCHOOL)
        if (await world.ask(address, role=role, at=organization)).status_code == 200
    }
    may = {role for role, held in ROLE_PERMISSIONS.items() if Permission.OPERATIONS_READ in held}
    at_the_state = {role for role in may if level_of(STATE) in ROLE_LEVELS.get(role, {level_of(STATE)})}
    assert opened == {(role, STATE) for role in at_the_state} and opened


@pytest.mark.parametrize("address", ADDRESSES)
async def test_who_may_not_is_told_what_is_missing_before_anything_is_read(address: str) -> None:
    world = World()
    answer = await world.ask(address, role=READER_ROLE)
    assert (answer.status_code, "OPERATIONS_READ at the state" in answer.json()["detail"]) == (403, True)
    assert (await world.ask(address, role="")).status_code == 401
    assert world.asked == 0


async def test_every_verdict_that_is_not_ok_comes_with_what_to_do_first() -> None:
    world = World(runbooks="https://handbook.example/operations")
    world.judged = encode_operations(a_worker_wedged(now_ms()))
    response = await world.ask("/v1/operations")
    assert response.headers["cache-control"] == "private, no-store"
    answer = response.json()
    assert (answer["monitored"], answer["alarming"], answer["worst"]) == (True, True, "stall")
    assert answer["runbooks"] == "https://handbook.example/operations"
    told = {one.get("group") or one["name"]: one for one in answer["groups"] + answer["parts"]}
    assert {name for name, one in told.items() if one["advice"]} == {"streams", "webhooks", "endpoints"}
    assert told["streams"]["advice"]["runbook"] == "verdict-stall" and told["streams"]["alarming"]
    assert told["webhooks"]["verdict"] == "replaying" and not told["webhooks"]["alarming"]
    assert told["streams"]["partitions"][0] == {
        "partition": 3,
        "position": 101_769,
        "end": 120_000,
        "lag_records": 18_231,
        "lag_seconds": 92.4,
        "verdict": "stall",
        "owner": "worker-2",
        "since_ms": told["streams"]["partitions"][0]["since_ms"],
    }


async def test_an_instance_is_advised_like_its_kind() -> None:
    gone = PartReport(name="gateways:oak:8080", verdict=Verdict.STOP)
    kind = PartReport(name="gateways", verdict=Verdict.STOP)
    judgement = all_is_well(0)
    answers = operations_answer(type(judgement)(at_ms=0, monitor="oak", parts=(gone, kind)), 0).parts
    assert answers[0].advice == answers[1].advice and answers[0].advice is not None


@pytest.mark.parametrize(
    ("stored", "age"),
    [
        pytest.param(lambda: None, None, id="nothing was ever judged"),
        pytest.param(
            lambda: b'{"at_ms": "yesterday"}', None, id="another version has written it in its own way"
        ),
        pytest.param(
            lambda: encode_operations(all_is_well(now_ms() - 90_000)), 90.0, id="a minute and a half ago"
        ),
    ],
)
async def test_when_nobody_monitors_all_is_not_well(
    stored: Callable[[], bytes | None], age: float | None
) -> None:
    world, before_ms = World(), now_ms()
    world.judged = stored()
    answer = (await world.ask("/v1/operations")).json()
    took = (now_ms() - before_ms) / 1000
    assert (answer["monitored"], answer["alarming"]) == (False, True)
    assert answer["advice"]["runbook"] == "alert-nobody-monitors"
    assert (answer["age_seconds"] is None) is (age is None)
    assert age is None or age <= answer["age_seconds"] <= age + took + 1  # in whole seconds


async def test_history_of_six_hours_fits_a_chart_and_keeps_every_peak() -> None:
    world = World()
    samples = history(now_ms(), hours=6)
    samples[700].figures["lag/streams"] = 777.0  # one sample of ten seconds
    world.remember(samples)
    answer = (await world.ask("/v1/operations/history?hours=6")).json()
    assert (answer["hours"], answer["step_seconds"], len(answer["at"])) == (6, 60, 360)
    lag = answer["series"]["lag/streams"]
    assert len(lag) == 360 and max(value for value in lag if value is not None) == 777.0
    assert None in lag, "what nobody has measured is not drawn as zero"
    assert list(answer["series"]) == sorted(answer["series"])


async def test_an_hour_has_a_point_for_each_sample() -> None:
    world = World()
    world.remember(history(now_ms(), hours=2))
    answer = (await world.ask("/v1/operations/history")).json()
    assert (answer["step_seconds"], len(answer["at"])) == (10, 360)
    known = [value for value in answer["series"]["events"] if value is not None]
    assert len(known) > 300 and answer["at"][-1] <= now_ms()


async def test_a_sample_that_cannot_be_read_is_left_out() -> None:
    world = World()
    world.remember(history(now_ms(), hours=0.1))
    world.remembered.insert(3, (b"%d-1" % now_ms(), {b"sample": b"not json"}))
    world.remembered.insert(4, (b"%d-2" % now_ms(), {}))
    assert (await world.ask("/v1/operations/history")).json()["series"]["connections"]


@pytest.mark.parametrize("hours", ["0", "7", "-1", "1.5", "", "many", "9" * 5_000, "٣"])
async def test_hours_out_of_range_are_refused(hours: str) -> None:
    answer = await World().ask(f"/v1/operations/history?hours={hours}")
    assert (answer.status_code, "from 1 to 6" in answer.json()["detail"]) == (400, True)


def test_a_sample_of_a_clock_that_is_ahead_counts_in_the_last_step_and_one_of_before_in_none() -> None:
    condensing = Condensing(1_000, 10, 3)
    condensing.take([Sample(1_900, {"events": 4.0}), Sample(999, {"events": 9.0})])
    condensing.take([Sample(1_000, {"events": 1.0}), Sample(1_009, {"events": 2.0, "rejected": 0.0})])
    assert condensing.at == [1_000, 1_010, 1_020]
    assert dict(condensing) == {"events": [2.0, None, 4.0], "rejected": [0.0, None, None]}

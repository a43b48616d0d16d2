"""Webhook endpoints through a real gateway and Redis: who may have, see and change which, and what the worker is told."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_worker import FakeWorker
from integration.gateway_fixtures import (
    COUNTY,
    DISTRICT,
    OTHER_DISTRICT,
    OTHER_SCHOOL,
    SCHOOL,
    SECOND_SCHOOL,
    STATE,
    GatewayProcess,
    RedisServer,
    gateway_process,
    wait_until,
)
from typer.testing import CliRunner

from cli.__main__ import app
from cli.audit.reading import spooled_lines
from schemas.access.roles import MASKED_READER_ROLE, READER_ROLE
from schemas.audit import AuditEntry, AuditKind, read_entry
from schemas.environment import Secret
from schemas.webhooks import keys
from schemas.webhooks.endpoints import DisabledReason, EndpointState, EventType, decode_endpoint
from schemas.webhooks.ids import endpoint_id
from schemas.webhooks.messages import (
    Attempt,
    Message,
    MessageState,
    Order,
    decode_order,
    encode_stored,
)
from schemas.webhooks.secrets import SecretBox

ENDPOINTS = "/v1/webhooks/endpoints"
KEY = "only for tests, and of more than 32 characters"
URL = "https://hooks.example.test/scores?key=of-the-owner"
NO_DISTRICT = "19990090000000"  # of the form of one, in no directory
NO_ENDPOINT = endpoint_id(bytes(16))
PER_SUBJECT = 4


@pytest.fixture(scope="module")
def audit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit")


@pytest.fixture(scope="module")
def gateway(redis: RedisServer, worker: FakeWorker, audit_folder: Path) -> Iterator[GatewayProcess]:
    settings = {
        "SCORES_WEBHOOK_KEY": KEY,
        "SCORES_WEBHOOKS_PER_SUBJECT": str(PER_SUBJECT),
        "SCORES_ACCESS_LOG": "yes",
        "SCORES_AUDIT_DIR": str(audit_folder),
    }
    with gateway_process(redis.url, **settings) as running:
        yield running


@pytest.fixture(autouse=True)
def no_endpoints(worker: FakeWorker) -> None:
    """Each test begins without any."""
    for key in worker.redis.scan_iter(match="{webhooks}:*"):
        worker.redis.delete(key)


class Caller:
    """Somebody with a token, asking one gateway."""

    def __init__(
        self,
        gateway: GatewayProcess,
        organization: str = DISTRICT,
        *,
        role: str = READER_ROLE,
        subject: str = "it@example.test",
    ) -> None:
        self.subject = subject
        token = gateway.token(organization, role=role, subject=subject)
        self._url = gateway.url + ENDPOINTS
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str = "", **more: Any) -> httpx.Response:
        return httpx.request(
            method, self._url + path, headers=self._headers, timeout=60, trust_env=False, **more
        )

    def create(self, *organizations: str, **fields: Any) -> httpx.Response:
        follows = [{"organization": one} for one in organizations or (DISTRICT,)]
        return self.ask("POST", json={"url": URL, "follows": follows, **fields})

    def created(self, *organizations: str, **fields: Any) -> dict[str, Any]:
        answer = self.create(*organizations, **fields)
        assert answer.status_code == 201, answer.text
        endpoint: dict[str, Any] = answer.json()["endpoint"]
        return endpoint


def orders(worker: FakeWorker) -> list[Order]:
    return [decode_order(fields[keys.ORDER_FIELD]) for _, fields in worker.redis.xrange(keys.ORDERS)]


def noted(folder: Path, kind: AuditKind) -> list[AuditEntry]:
    entries = [read_entry(line) for line, _ in spooled_lines(folder)]
    return [entry for entry in entries if entry.event.kind is kind]


def same_answer(*answers: httpx.Response) -> bool:
    """To the byte, but for what differs between any two answers."""
    return len({(one.status_code, one.content, frozenset(one.headers) - {"date"}) for one in answers}) == 1


# Making one.


def test_district_makes_an_endpoint_and_is_shown_its_secret_once(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    caller = Caller(gateway)
    answer = caller.create(signing=["v1", "v1a"], description="warehouse")
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "private, no-store"
    body = answer.json()
    endpoint, shown = body["endpoint"], {one["kind"]: one["secret"] for one in body["secrets"]}
    assert answer.headers["location"] == f"{ENDPOINTS}/{endpoint['id']}"
    assert (shown["v1"][:6], shown["v1a"][:5]) == ("whsec_", "whpk_")
    assert endpoint["follows"] == [{"organization": DISTRICT, "name": "Birch Valley Unified", "below": True}]
    assert (endpoint["status"], endpoint["url"], endpoint["revision"]) == ("unconfirmed", URL, 1)
    again = caller.ask("GET", f"/{endpoint['id']}")
    assert again.json() == endpoint
    listed = caller.ask("GET")
    assert listed.json() == {"endpoints": [endpoint], "next": None}
    for later in (again, listed):
        assert "whsec_" not in later.text and "whpk_" not in later.text

    stored = worker.redis.hget(keys.ENDPOINTS, endpoint["id"])
    assert isinstance(stored, bytes)
    kept = decode_endpoint(stored)
    opened = [SecretBox(Secret(KEY.encode())).unseal(one, endpoint=kept.id).shown for one in kept.secrets]
    assert opened == [shown["v1"], shown["v1a"]], "what signs is what was shown"
    assert shown["v1"].removeprefix("whsec_").encode() not in stored, "it is not kept as it is"
    assert [(one.kind, one.endpoint, one.by) for one in orders(worker)] == [
        ("confirm", kept.id, caller.subject)
    ]


def test_endpoint_is_told_what_its_owner_may_be_told(gateway: GatewayProcess) -> None:
    exact = Caller(gateway).created()
    assert "result.rescored" in exact["events"]
    masked = Caller(gateway, role=MASKED_READER_ROLE)
    assert masked.created()["events"] == ["aggregate.updated", "release.changed"]
    refused = masked.create(events=["result.invalidated"])
    assert (refused.status_code, "INDIVIDUAL_PII_READ" in refused.json()["detail"]) == (403, True)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"url": "http://hooks.example.test/"}, "https", id="plain http"),
        pytest.param({"url": "https://127.0.0.1/hook"}, "URL", id="this machine"),
        pytest.param({"url": "https://169.254.169.254/latest/meta-data"}, "URL", id="a cloud's metadata"),
        pytest.param({"url": "https://[::ffff:10.0.0.1]/"}, "URL", id="a mapped private address"),
        pytest.param({"url": "https://user:secret@hooks.example.test/"}, "URL", id="with a password"),
        pytest.param({"url": "https://hooks.example.test:22/"}, "URL", id="another port"),
        pytest.param({"url": "gopher://hooks.example.test/"}, "URL", id="another scheme"),
        pytest.param({"url": "https://hooks.example.test/#x"}, "URL", id="with a fragment"),
        pytest.param({"private_network": True}, "SCORES_WEBHOOK_ALLOW_PRIVATE", id="private, not allowed"),
        pytest.param({"follows": []}, "follows", id="follows nothing"),
        pytest.param({"follows": [{"organization": "1"}]}, "1", id="no code"),
        pytest.param({"follows": [{"organization": DISTRICT}] * 2}, "twice", id="twice the same"),
        pytest.param({"follows": [{"organization": DISTRICT}] * 501}, "follows", id="too many"),
        pytest.param({"events": []}, "events", id="no events"),
        pytest.param({"events": ["endpoint.ping"]}, "endpoint.ping", id="an event that comes by itself"),
        pytest.param({"events": ["exam.taken"]}, "exam.taken", id="no such event"),
        pytest.param({"grades": ["13"]}, "13", id="no grade"),
        pytest.param({"points": 0}, "points", id="no threshold"),
        pytest.param({"interval_seconds": -1}, "interval_seconds", id="before it changed"),
        pytest.param({"rate": 1e9}, "rate", id="too fast"),
        pytest.param({"payload": "huge"}, "payload", id="no such payload"),
        pytest.param({"description": "x" * 201}, "description", id="a novel"),
        pytest.param({"signing": []}, "signing", id="unsigned"),
        pytest.param({"signing": ["v1", "v1"]}, "twice", id="one kind twice"),
        pytest.param({"subject": "principal@example.test"}, "subject", id="in another's name"),
        pytest.param({"grants": []}, "grants", id="with other rights"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_kept(
    gateway: GatewayProcess, worker: FakeWorker, fields: dict[str, Any], named: str
) -> None:
    refused = Caller(gateway).create(**fields)
    assert refused.status_code == 400, refused.text
    assert named in refused.json()["detail"]
    assert worker.redis.exists(keys.ENDPOINTS, keys.ORDERS) == 0


def test_one_subject_has_so_many_endpoints_and_no_more(gateway: GatewayProcess, worker: FakeWorker) -> None:
    caller = Caller(gateway)
    made = [caller.created()["id"] for _ in range(PER_SUBJECT)]
    refused = caller.create()
    assert (refused.status_code, str(PER_SUBJECT) in refused.json()["detail"]) == (409, True)
    assert Caller(gateway, subject="other@example.test").create().status_code == 201
    assert caller.ask("DELETE", f"/{made[0]}").status_code == 204
    assert caller.create().status_code == 201
    assert worker.redis.hlen(keys.ENDPOINTS) == PER_SUBJECT + 1


def test_limit_holds_for_endpoints_that_are_made_in_one_moment(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    caller = Caller(gateway)
    with ThreadPoolExecutor(12) as pool:
        statuses = Counter(pool.map(lambda _: caller.create().status_code, range(12)))
    assert statuses == {201: PER_SUBJECT, 409: 12 - PER_SUBJECT}
    assert worker.redis.hlen(keys.ENDPOINTS) == PER_SUBJECT


# Who may not.


@pytest.mark.parametrize(
    "organization",
    [
        pytest.param(OTHER_DISTRICT, id="another district"),
        pytest.param(OTHER_SCHOOL, id="another district's school"),
        pytest.param(COUNTY, id="the county above"),
        pytest.param(STATE, id="the state"),
    ],
)
def test_others_organization_is_refused_as_one_that_does_not_exist(
    gateway: GatewayProcess, worker: FakeWorker, organization: str
) -> None:
    caller = Caller(gateway)
    missing, refused = caller.create(NO_DISTRICT), caller.create(organization)
    assert missing.status_code == 403
    assert same_answer(missing, refused, caller.create(DISTRICT, organization))
    assert worker.redis.exists(keys.ENDPOINTS) == 0
    own = caller.created()
    changes = [
        caller.ask("PATCH", f"/{own['id']}", json={"follows": [{"organization": one}]})
        for one in (NO_DISTRICT, organization)
    ]
    assert same_answer(*changes) and changes[0].status_code == 403
    assert caller.ask("GET", f"/{own['id']}").json() == own


def test_organization_in_no_directory_is_refused_to_whoever_would_see_it(gateway: GatewayProcess) -> None:
    assert Caller(gateway, STATE).create(NO_DISTRICT).status_code == 403


EVERY_WAY = [
    ("GET", "", None),
    ("PATCH", "", {"url": "https://thief.example.test/"}),
    ("DELETE", "", None),
    ("POST", "/rotate-secret", None),
    ("POST", "/pause", None),
    ("POST", "/resume", None),
    ("POST", "/enable", None),
    ("POST", "/ping", None),
    ("POST", "/recover", {"since": 0}),
    ("GET", "/messages", None),
    ("GET", "/messages/msg_" + "a" * 27, None),
    ("POST", "/messages/msg_" + "a" * 27 + "/replay", None),
    ("GET", "/dead", None),
    ("POST", "/dead/retry", None),
]


@pytest.mark.parametrize(
    ("method", "path", "body"), EVERY_WAY, ids=[f"{method} {path or '/'}" for method, path, _ in EVERY_WAY]
)
def test_others_endpoint_is_answered_as_one_that_does_not_exist(
    gateway: GatewayProcess, worker: FakeWorker, method: str, path: str, body: Any
) -> None:
    theirs = Caller(gateway).created()
    before = worker.redis.hgetall(keys.ENDPOINTS), orders(worker)
    attackers = [
        Caller(gateway, OTHER_DISTRICT, role="SandboxDistrictAdmin", subject="other@example.test"),
        Caller(gateway, SCHOOL, role="SandboxDistrictAdmin", subject="school@example.test"),
        Caller(gateway, role=READER_ROLE, subject="colleague@example.test"),
        Caller(gateway, STATE, role="DevOps", subject="operator@example.test"),
    ]
    more = {} if body is None else {"json": body}
    for attacker in attackers:
        refused = attacker.ask(method, f"/{theirs['id']}{path}", **more)
        missing = attacker.ask(method, f"/{NO_ENDPOINT}{path}", **more)
        assert refused.status_code == 404, refused.text
        assert same_answer(refused, missing)
        assert attacker.ask("GET").json()["endpoints"] == []
    assert (worker.redis.hgetall(keys.ENDPOINTS), orders(worker)) == before


def test_same_name_at_another_issuer_is_somebody_else(gateway: GatewayProcess, worker: FakeWorker) -> None:
    caller = Caller(gateway)
    made = caller.created()
    stored = json.loads(worker.redis.hget(keys.ENDPOINTS, made["id"]) or b"")
    worker.redis.hset(
        keys.ENDPOINTS, made["id"], json.dumps({**stored, "issuer": "https://elsewhere.example.test/"})
    )
    assert caller.ask("GET", f"/{made['id']}").status_code == 404


def test_message_of_another_endpoint_is_answered_as_one_that_does_not_exist(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    caller = Caller(gateway)
    own = caller.created()
    theirs = Caller(gateway, OTHER_DISTRICT, subject="other@example.test").created(OTHER_DISTRICT)
    foreign = keep(worker, message(theirs["id"], number=1))
    unknown = "msg_" + "a" * 27
    for path in ("", "/replay"):
        answers = [
            caller.ask("POST" if path else "GET", f"/{own['id']}/messages/{one}{path}")
            for one in (foreign.id, unknown)
        ]
        assert same_answer(*answers) and answers[0].status_code == 404


def test_cookie_shows_and_changes_nothing(gateway: GatewayProcess) -> None:
    made = Caller(gateway).created()
    cookie = f"scores_session={gateway.token(DISTRICT, subject='it@example.test')}"
    with gateway.client(Cookie=cookie) as client:
        assert client.get(f"{ENDPOINTS}/{made['id']}").status_code == 200
        for method, path, body in EVERY_WAY:
            if method != "GET":
                refused = client.request(method, f"{ENDPOINTS}/{made['id']}{path}", json=body)
                assert refused.status_code == 401, path
        assert client.post(ENDPOINTS, json={}).status_code == 401
    with gateway.client() as nobody:
        assert nobody.get(ENDPOINTS).status_code == 401


# Looking after others'.


def test_coordinator_looks_after_what_the_districts_people_made(gateway: GatewayProcess) -> None:
    theirs = Caller(gateway, SCHOOL, subject="school@example.test").created(SCHOOL)
    coordinator = Caller(gateway, role="LEA CAASPP Coordinator", subject="lea@example.test")
    seen = coordinator.ask("GET", f"/{theirs['id']}").json()
    assert (seen["owner"], seen["url"]) == ("school@example.test", "https://hooks.example.test/scores?...")
    assert coordinator.ask("POST", f"/{theirs['id']}/pause").json()["status"] == "paused"
    assert coordinator.ask("GET", f"/{theirs['id']}").json()["owner"] == "school@example.test"
    of_two = Caller(gateway, COUNTY, subject="county@example.test").created(DISTRICT, OTHER_DISTRICT)
    assert coordinator.ask("GET", f"/{of_two['id']}").status_code == 404, "all that it follows, or nothing"


def test_whoever_changes_anothers_endpoint_gives_it_their_own_rights(
    gateway: GatewayProcess, worker: FakeWorker, audit_folder: Path
) -> None:
    """Else a coordinator could have sent to themselves what only the owner may see."""
    theirs = Caller(gateway, subject="loader@example.test").created()
    coordinator = Caller(gateway, role="LEA CAASPP Coordinator", subject="lea@example.test")
    changed = coordinator.ask("PATCH", f"/{theirs['id']}", json={"url": "https://other.example.test/"})
    assert (changed.status_code, changed.json()["owner"]) == (200, "lea@example.test")
    kept = decode_endpoint(worker.redis.hget(keys.ENDPOINTS, theirs["id"]) or b"")
    assert [grant.role for grant in kept.grants] == ["LEA CAASPP Coordinator"]
    assert Caller(gateway, subject="loader@example.test").ask("GET", f"/{theirs['id']}").status_code == 404
    [event] = [
        entry.event
        for entry in noted(audit_folder, AuditKind.WEBHOOK_CHANGED)
        if entry.event.outcome == theirs["id"]
    ]
    assert (event.subject, event.rule) == ("lea@example.test", "WEBHOOKS_MANAGE")
    assert event.detail == "url: https://other.example.test; taken over from loader@example.test"


# Changing one.


def test_change_keeps_what_it_does_not_name(gateway: GatewayProcess, worker: FakeWorker) -> None:
    caller = Caller(gateway)
    made = caller.created(tests=["ELA-SUM"], interval_seconds=300, points=1.5)
    changed = caller.ask("PATCH", f"/{made['id']}", json={"grades": ["11", "KG"], "points": None})
    assert changed.status_code == 200
    said = changed.json()
    assert (said["tests"], said["grades"], said["points"]) == (["ELA-SUM"], ["KG", "11"], None)
    assert (said["interval_seconds"], said["revision"], said["created"]) == (300, 2, made["created"])
    assert [one.kind for one in orders(worker)] == ["confirm", "changed"]
    caller.ask("PATCH", f"/{made['id']}", json={"url": "https://new.example.test/"})
    assert orders(worker)[-1].kind == "confirm", "a new address is asked anew"


def test_change_of_what_somebody_else_has_changed_is_refused(gateway: GatewayProcess) -> None:
    caller = Caller(gateway)
    made = caller.created()
    path, change = f"/{made['id']}", {"interval_seconds": 5, "revision": 1}
    assert caller.ask("PATCH", path, json=change).status_code == 200
    late = caller.ask("PATCH", path, json={"interval_seconds": 7, "revision": 1})
    assert (late.status_code, "revision is 2" in late.json()["detail"]) == (409, True)
    assert caller.ask("GET", path).json()["interval_seconds"] == 5


def test_changes_in_one_moment_are_all_made(gateway: GatewayProcess, worker: FakeWorker) -> None:
    caller = Caller(gateway)
    path = f"/{caller.created()['id']}"
    changes = [{name: value} for name in ("interval_seconds", "rate") for value in range(1, 7)]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda change: caller.ask("PATCH", path, json=change), changes))
    assert {one.status_code for one in answers} == {200}
    assert sorted(one.json()["revision"] for one in answers) == list(range(2, 14))
    last = max((one.json() for one in answers), key=lambda endpoint: endpoint["revision"])
    assert caller.ask("GET", path).json() == last


def test_owner_with_narrower_rights_changes_nothing_beyond_them(gateway: GatewayProcess) -> None:
    made = Caller(gateway).created(SCHOOL, SECOND_SCHOOL)
    narrower = Caller(gateway, SCHOOL)
    path = f"/{made['id']}"
    assert narrower.ask("PATCH", path, json={"description": "mine"}).status_code == 403
    follows = [{"organization": SCHOOL, "below": False}]
    assert narrower.ask("PATCH", path, json={"follows": follows}).json()["follows"][0]["below"] is False


def test_replaced_secret_signs_on_beside_its_successor(gateway: GatewayProcess, worker: FakeWorker) -> None:
    caller = Caller(gateway)
    path = f"/{caller.created()['id']}"
    rotated = caller.ask("POST", path + "/rotate-secret").json()
    assert [one["kind"] for one in rotated["secrets"]] == ["v1"]
    old, new = rotated["endpoint"]["secrets"]
    assert (old["until"] is not None, new["until"]) == (True, None)
    both = caller.ask(
        "POST", path + "/rotate-secret", json={"signing": ["v1", "v1a"], "at_once": True}
    ).json()
    assert [(one["kind"], one["until"]) for one in both["endpoint"]["secrets"]] == [
        ("v1", None),
        ("v1a", None),
    ]
    answers = [caller.ask("POST", path + "/rotate-secret") for _ in range(4)]
    assert [one.status_code for one in answers][-1] == 409, "no header grows without end"
    assert "at_once" in answers[-1].json()["detail"]


def test_deleted_endpoint_is_gone_and_the_worker_hears_of_it(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    caller = Caller(gateway)
    made = caller.created()
    version = int(worker.redis.get(keys.VERSION) or 0)
    assert caller.ask("DELETE", f"/{made['id']}").status_code == 204
    assert caller.ask("DELETE", f"/{made['id']}").status_code == 404
    assert int(worker.redis.get(keys.VERSION) or 0) > version
    assert (orders(worker)[-1].kind, orders(worker)[-1].endpoint) == ("changed", made["id"])
    assert caller.ask("GET").json()["endpoints"] == []


def test_version_is_never_the_same_again_even_after_redis_lost_its_end(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    caller = Caller(gateway)
    first = caller.created()
    lost = worker.redis.get(keys.VERSION)
    assert len(caller.ask("GET").json()["endpoints"]) == 1
    for key in worker.redis.scan_iter(match="{webhooks}:*"):
        worker.redis.delete(key)
    second = caller.created()
    assert worker.redis.get(keys.VERSION) != lost
    assert [one["id"] for one in caller.ask("GET").json()["endpoints"]] == [second["id"]] != [first["id"]]


# Orders, and what became of messages.


def message(endpoint: str, *, number: int, state: MessageState = MessageState.DELIVERED) -> Message:
    attempt = Attempt(at_ms=2_000 + number, latency_ms=7, status=500, response="\x1b[2J<b>no</b>\u202e")
    return Message(
        id="msg_" + "abcdefgh234567"[number] * 27,
        endpoint=endpoint,
        type=EventType.AGGREGATE_UPDATED,
        created_ms=1_000 + number,
        body=b'{"secret figures": %d}' % number,
        state=state,
        attempts=(attempt,),
        attempted=1,
    )


def keep(worker: FakeWorker, kept: Message) -> Message:
    """As the delivering worker does."""
    worker.redis.hset(keys.MESSAGES, kept.id, encode_stored(kept))
    worker.redis.zadd(keys.log(kept.endpoint), {kept.id: kept.created_ms})
    if kept.state is MessageState.DEAD:
        worker.redis.zadd(keys.dead(kept.endpoint), {kept.id: kept.created_ms})
    return kept


def test_messages_are_listed_without_their_bodies(gateway: GatewayProcess, worker: FakeWorker) -> None:
    caller = Caller(gateway)
    path = f"/{caller.created()['id']}"
    for number in range(5):
        state = MessageState.DEAD if number % 2 else MessageState.DELIVERED
        keep(worker, message(path[1:], number=number, state=state))
    listed = caller.ask("GET", path + "/messages")
    states = [one["state"] for one in listed.json()["messages"]]
    assert states == ["delivered", "dead", "delivered", "dead", "delivered"]
    assert "secret figures" not in listed.text
    dead = caller.ask("GET", path + "/dead").json()["messages"]
    assert dead == caller.ask("GET", path + "/messages", params={"state": "dead"}).json()["messages"]
    assert len(dead) == 2
    since = caller.ask("GET", path + "/messages", params={"since": "1003"}).json()["messages"]
    assert [one["id"][4] for one in since] == ["e", "d"]
    first = caller.ask("GET", path + "/messages", params={"limit": 2}).json()
    rest = caller.ask("GET", path + "/messages", params={"after": first["next"], "limit": 3}).json()
    assert [one["id"][4] for one in (*first["messages"], *rest["messages"])] == ["e", "d", "c", "b", "a"]
    assert rest["next"] is None
    for wrong in ({"state": "lost"}, {"since": "soon"}, {"limit": 0}, {"limit": "1e3"}, {"after": "msg_x"}):
        assert caller.ask("GET", path + "/messages", params=wrong).status_code == 400, wrong


def test_what_a_receiver_answered_is_shown_escaped(gateway: GatewayProcess, worker: FakeWorker) -> None:
    caller = Caller(gateway)
    path = f"/{caller.created()['id']}"
    kept = keep(worker, message(path[1:], number=0))
    answer = caller.ask("GET", f"{path}/messages/{kept.id}")
    assert "secret figures" not in answer.text
    [attempt] = answer.json()["attempts"]
    assert attempt["response"] == r"\u{1b}[2J\u{3c}b\u{3e}no\u{3c}/b\u{3e}\u{202e}"
    assert (attempt["status"], attempt["latency_ms"]) == (500, 7)
    assert answer.json()["message"]["bytes"] == len(kept.body)


def test_orders_reach_the_worker_with_what_they_are_about(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    caller = Caller(gateway)
    path = f"/{caller.created()['id']}"
    kept = keep(worker, message(path[1:], number=0))
    waiting = caller.ask("POST", path + "/ping")
    assert (waiting.status_code, waiting.json()["delivering"]) == (202, False)
    worker.redis.set(keys.LEASE, b"a worker")
    assert caller.ask("POST", path + "/enable").json()["delivering"] is True
    caller.ask("POST", f"{path}/messages/{kept.id}/replay")
    caller.ask("POST", path + "/recover", json={"since": "2026-05-04T12:00:00Z"})
    caller.ask("POST", path + "/dead/retry")
    given = [(one.kind, one.message, one.since_ms) for one in orders(worker)[1:]]
    assert given == [
        ("ping", "", None),
        ("enable", "", None),
        ("replay", kept.id, None),
        ("recover", "", 1_777_896_000_000),
        ("retry_dead", "", None),
    ]
    for wrong in ({}, {"since": "2999-01-01T00:00:00Z"}, {"since": "soon"}, {"until": 1}):
        assert caller.ask("POST", path + "/recover", json=wrong).status_code == 400, wrong


def test_orders_that_no_worker_takes_do_not_pile_up(gateway: GatewayProcess, worker: FakeWorker) -> None:
    caller = Caller(gateway)
    path = f"/{caller.created()['id']}"
    with worker.redis.pipeline(transaction=False) as pipe:
        for _ in range(10_000):
            pipe.xadd(keys.ORDERS, {keys.ORDER_FIELD: b"{}"})
        pipe.execute()
    refused = caller.ask("POST", path + "/ping")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert caller.ask("POST", path + "/pause").status_code == 200, "stopping always goes"


def test_state_that_the_worker_wrote_is_shown(gateway: GatewayProcess, worker: FakeWorker) -> None:
    caller = Caller(gateway)
    path = f"/{caller.created()['id']}"

    def fares(**state: Any) -> dict[str, Any]:
        worker.redis.hset(keys.STATES, path[1:], encode_stored(EndpointState(**state)))
        shown: dict[str, Any] = caller.ask("GET", path).json()
        return shown

    confirmed = {"confirmed_ms": 1_000, "confirmed_url": URL}
    assert fares(**confirmed)["status"] == "active"
    assert fares(confirmed_ms=1_000, confirmed_url="https://before.example.test/")["status"] == "unconfirmed"
    assert fares(**confirmed, failing_since_ms=2_000, failures=3)["failures"] == 3
    gone = fares(**confirmed, disabled=DisabledReason.GONE, disabled_ms=3_000, detail="410")
    assert (gone["status"], gone["disabled"], gone["disabled_at"]) == (
        "disabled",
        "gone",
        "1970-01-01T00:00:03.000Z",
    )
    soon = int(time.time() * 1000) + 60_000
    assert fares(**confirmed, not_before_ms=soon)["not_before"] is not None


# Revocation, audit and logs.


def revoked(gateway: GatewayProcess, **order: str) -> None:
    token = gateway.token(STATE, role="PRIVACY_OFFICER", subject="officer@example.test")
    with gateway.client(Authorization=f"Bearer {token}") as client:
        assert client.post("/v1/revocations", json=order).status_code == 201


def test_revocation_of_a_subject_disables_its_endpoints_and_no_others(
    gateway: GatewayProcess, worker: FakeWorker, audit_folder: Path
) -> None:
    leaving = Caller(gateway, subject="leaving@example.test").created()
    staying = Caller(gateway, subject="staying@example.test").created()
    revoked(gateway, subject="leaving@example.test")
    coordinator = Caller(gateway, role="LEA CAASPP Coordinator", subject="lea@example.test")

    def shown() -> dict[str, Any]:
        answer: dict[str, Any] = coordinator.ask("GET", f"/{leaving['id']}").json()
        return answer

    wait_until(lambda: shown()["status"] == "disabled", what="the endpoint is disabled")
    assert shown()["disabled"] == "revoked"
    assert orders(worker)[-1] == Order(kind="changed", endpoint=leaving["id"])
    assert coordinator.ask("GET", f"/{staying['id']}").json()["disabled"] is None

    def in_audit() -> bool:
        events = [entry.event for entry in noted(audit_folder, AuditKind.WEBHOOK_REVOKED)]
        return ("leaving@example.test", leaving["id"]) in [(one.subject, one.outcome) for one in events]

    wait_until(in_audit, what="the audit says so")
    # Whoever enables it does so with their own rights.
    assert coordinator.ask("POST", f"/{leaving['id']}/enable").status_code == 202
    assert (shown()["owner"], shown()["disabled"]) == ("lea@example.test", None)
    assert [one.kind for one in orders(worker)[-2:]] == ["changed", "enable"]


def test_revocation_of_a_district_reaches_endpoints_of_its_schools(gateway: GatewayProcess) -> None:
    county = Caller(gateway, COUNTY, role="LEA CAASPP Coordinator", subject="county@example.test")
    watching = Caller(gateway, STATE, role="SandboxDistrictAdmin", subject="state@example.test")
    inside = Caller(gateway, OTHER_SCHOOL, subject="fir@example.test").created(OTHER_SCHOOL)
    above = watching.created(OTHER_SCHOOL)
    revoked(gateway, district=OTHER_DISTRICT)
    path = f"/{inside['id']}"
    wait_until(
        lambda: watching.ask("GET", path).json()["disabled"] == "revoked", what="the school's is revoked"
    )
    assert watching.ask("GET", f"/{above['id']}").json()["disabled"] is None, "the state's are other people's"
    assert county.ask("GET").json()["endpoints"] == []


def test_every_change_is_in_the_audit_with_who_and_what(gateway: GatewayProcess, audit_folder: Path) -> None:
    caller = Caller(gateway, subject="audited@example.test")
    path = f"/{caller.created()['id']}"
    caller.ask("PATCH", path, json={"url": "https://new.example.test/x?key=hidden", "rate": 3})
    caller.ask("POST", path + "/pause")
    caller.ask("POST", path + "/rotate-secret")
    caller.ask("POST", path + "/ping")
    caller.ask("DELETE", path)
    kinds = [kind for kind in AuditKind if kind.value.startswith("webhook_")]
    events = [
        entry.event
        for kind in kinds
        for entry in noted(audit_folder, kind)
        if entry.event.subject == caller.subject
    ]
    assert [(one.kind, one.detail) for one in events] == [
        (AuditKind.WEBHOOK_CREATED, "https://hooks.example.test"),
        (AuditKind.WEBHOOK_CHANGED, "url, rate: https://new.example.test"),
        (AuditKind.WEBHOOK_CHANGED, "paused"),
        (AuditKind.WEBHOOK_DELETED, ""),
        (AuditKind.WEBHOOK_SECRET_ROTATED, "2 in force"),
        (AuditKind.WEBHOOK_ORDERED, "ping"),
    ]
    assert {(one.organizations, one.outcome) for one in events} == {((f"district/{DISTRICT}",), path[1:])}


def test_neither_secrets_nor_queries_reach_log_or_audit(
    redis: RedisServer, worker: FakeWorker, tmp_path: Path
) -> None:
    folder = tmp_path / "audit"
    settings = {"SCORES_WEBHOOK_KEY": KEY, "SCORES_AUDIT_DIR": str(folder), "SCORES_ACCESS_LOG": "yes"}
    with gateway_process(redis.url, **settings) as gateway:
        caller = Caller(gateway)
        issued = caller.create().json()
        path = f"/{issued['endpoint']['id']}"
        rotated = caller.ask("POST", path + "/rotate-secret").json()
        caller.ask("POST", json={"url": URL, "follows": "whsec_in_the_wrong_place"})
        caller.ask("PATCH", path, json={"url": "https://hooks.example.test/?key=of-the-owner-2"})
        worker.redis.hset(keys.ENDPOINTS, path[1:], b'{"url": "https://x.example.test/?key=of-the-owner"}')
        assert caller.ask("GET", path).status_code == 503, "what is not of this version is not guessed at"
        _, log = gateway.stop()
    said = log + b"\n".join(line for line, _ in spooled_lines(folder)).decode()
    assert path[1:] in said, "something was said"
    for secret in (issued["secrets"][0]["secret"], rotated["secrets"][0]["secret"]):
        assert secret.removeprefix("whsec_") not in said
    assert "of-the-owner" not in said


def test_deployment_without_a_key_has_no_webhooks(redis: RedisServer, worker: FakeWorker) -> None:
    with gateway_process(redis.url) as gateway:
        assert Caller(gateway).ask("GET").status_code == 404
        assert Caller(gateway).create().status_code == 404


# The commands.


def test_commands_do_all_of_it(gateway: GatewayProcess, worker: FakeWorker) -> None:
    reach = ["--gateway", gateway.url, "--token", gateway.token(DISTRICT, subject="it@example.test")]

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["webhooks", *arguments, *reach], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    made = json.loads(run("create", URL, "--follow", DISTRICT, "--follow-alone", SCHOOL, "--full", "--json"))
    endpoint = made["endpoint"]["id"]
    follows = [(one["organization"], one["below"]) for one in made["endpoint"]["follows"]]
    assert follows == [(DISTRICT, True), (SCHOOL, False)]
    assert "unconfirmed" in run("list") and endpoint in run("list")
    changed = run("change", endpoint, "--interval", "5", "--test", "ELA-SUM", "--points", "2", "--thin")
    assert "every 5 s" in changed and "ELA-SUM" in changed and "2 points" in changed and "thin" in changed
    cleared = json.loads(run("change", endpoint, "--all-tests", "--points", "0", "--json"))
    assert (cleared["tests"], cleared["points"]) == ([], None)
    assert "paused" in run("pause", endpoint)
    assert "unconfirmed" in run("resume", endpoint)
    rotated = run("rotate", endpoint)
    assert "secret (v1): whsec_" in rotated and "not shown again" in rotated
    assert "whsec_" not in run("show", endpoint)
    worker.redis.set(keys.LEASE, b"a worker")
    kept = keep(worker, message(endpoint, number=0, state=MessageState.DEAD))
    assert kept.id in run("messages", endpoint) and kept.id in run("dead", endpoint)
    assert "no such message" in run("messages", endpoint, "--state", "waiting")
    shown = run("message", endpoint, kept.id)
    assert "500" in shown and "\x1b" not in shown and r"\u{1b}[2J" in shown
    for order in (["ping"], ["enable"], ["recover", "--since", "1d"], ["retry", "--since", "7d"]):
        assert "accepted" in run(order[0], endpoint, *order[1:])
    assert kept.id in run("replay", endpoint, kept.id)
    assert [one.kind for one in orders(worker)[-5:]] == ["ping", "enable", "recover", "retry_dead", "replay"]
    assert "deleted" in run("delete", endpoint, "--yes")
    assert "No webhook endpoint" in run("list")


def test_command_says_that_no_worker_runs(gateway: GatewayProcess) -> None:
    endpoint = Caller(gateway).created()["id"]
    reach = ["--gateway", gateway.url, "--token", gateway.token(DISTRICT, subject="it@example.test")]
    done = CliRunner().invoke(app, ["webhooks", "ping", endpoint, *reach])
    assert (done.exit_code, "scores webhooks run" in done.output) == (1, True)

"""What streams watch, over HTTP and over two nodes: subtrees, filters, changes and renewals, and limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import (
    COUNTY,
    DISTRICT,
    ORGANIZATIONS,
    OTHER_DISTRICT,
    OTHER_SCHOOL,
    SCHOOL,
    SECOND_SCHOOL,
    STATE,
    EventReader,
    GatewayProcess,
    RedisServer,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)
from redis import RedisCluster

from cli.stack.redis_cluster import EmbeddedRedisCluster
from gateway.commands import new_stream_id, node_of
from schemas.keys import ORGANIZATIONS as DIRECTORY_KEY
from schemas.keys import ORGANIZATIONS_VERSION

MANY = [
    {"cds": f"19990030{number + 1:06d}", "name": f"School {number}", "kind": "school"}
    for number in range(501)
]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        worker = FakeWorker(running.url)
        worker.list_organizations([*ORGANIZATIONS, *MANY])
        for school in (SCHOOL, SECOND_SCHOOL, OTHER_SCHOOL):
            worker.apply(school, [scored(2450, 3)])
        worker.serve()
        yield running


@pytest.fixture(scope="module")
def worker(server: RedisServer) -> FakeWorker:
    return FakeWorker(server.url)


@pytest.fixture(scope="module")
def gateway(server: RedisServer) -> Iterator[GatewayProcess]:
    with gateway_process(server.url) as running:
        yield running


@pytest.fixture(scope="module")
def other_node(server: RedisServer, gateway: GatewayProcess) -> Iterator[GatewayProcess]:
    """A second node that believes the same tokens."""
    with gateway_process(server.url, SCORES_JWKS_FILE=str(gateway.issuer.jwks_file)) as running:
        yield running


def bearer(gateway: GatewayProcess, organization: str, **token: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {gateway.token(organization, **token)}"}


def opened(reader: EventReader) -> dict[str, Any]:
    data: dict[str, Any] = reader.until("subscribed").data
    return data


def named(event: Any) -> list[str]:
    return [organization["id"] for organization in event.data["organizations"]]


def change(client: httpx.Client, stream_id: str, *topics: str, **filters: list[Any]) -> httpx.Response:
    return client.post(f"/v1/streams/{stream_id}/subscription", json={"topics": topics, **filters})


# What is watched.


def test_a_districts_schools_are_one_topic(gateway: GatewayProcess) -> None:
    with gateway.client(DISTRICT) as client, stream(client, f"district/{DISTRICT}/schools") as reader:
        said = opened(reader)
        assert said["topics"] == [f"district/{DISTRICT}/schools"] and said["organizations"] == 2
        assert named(reader.until("put")) == [SCHOOL, SECOND_SCHOOL]


def test_five_hundred_schools_on_one_connection_and_not_one_more(gateway: GatewayProcess) -> None:
    topics = [f"school/{school['cds']}" for school in MANY]
    with gateway.client(COUNTY) as client:
        with stream(client, *topics[:500]) as reader:
            assert opened(reader)["organizations"] == 500
            assert len(named(reader.until("put"))) > 0
        refused = client.get("/v1/stream", params={"topic": topics})
        assert refused.status_code == 400
        assert "501 topics are too many; one stream takes up to 500" in refused.json()["detail"]


def test_a_subtree_larger_than_the_limit_is_refused_with_the_limit_and_the_remedy(
    server: RedisServer, gateway: GatewayProcess
) -> None:
    with (
        gateway_process(
            server.url, SCORES_STREAM_ORGANIZATIONS="100", SCORES_JWKS_FILE=str(gateway.issuer.jwks_file)
        ) as narrow,
        narrow.client(**bearer(gateway, STATE)) as client,
    ):
        refused = client.get("/v1/stream", params={"topic": f"state/{STATE}/schools"})
        assert refused.status_code == 400
        assert "is 504 organizations; one stream takes up to 100" in refused.json()["detail"]
        assert "county/<CDS>/schools" in refused.json()["detail"]
        refused = client.get("/v1/stream", params={"topic": f"county/{COUNTY}/schools"})
        assert "district/<CDS>/schools" in refused.json()["detail"]


def test_a_subtree_that_is_not_open_is_answered_as_a_school_that_there_is_not(
    gateway: GatewayProcess,
) -> None:
    with gateway.client(DISTRICT) as client:
        answers = [
            client.get("/v1/stream", params={"topic": topic})
            for topic in (
                "school/19990090000101",
                f"school/{OTHER_SCHOOL}",
                f"district/{OTHER_DISTRICT}/schools",
                f"county/{COUNTY}/schools",
                f"state/{STATE}/schools",
                "district/19990090000000/schools",
            )
        ]
    assert {answer.status_code for answer in answers} == {403}
    assert len({answer.content for answer in answers}) == 1


def test_filters_take_several_values_and_hold_for_the_whole_stream(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    worker.apply(SECOND_SCHOOL, [scored(2500, 4)], test="MATH-SUM", grade="05")
    worker.apply(SECOND_SCHOOL, [scored(2500, 4)], test="ELA-SUM", grade="04")
    query = {"test": ["MATH-SUM", "CAST"], "grade": ["5", "8"]}
    with gateway.client(DISTRICT) as client:
        path = f"/v1/aggregates/{SECOND_SCHOOL}"

        def both_shown() -> bool:
            [school] = client.get(path).json()["organizations"]
            return {("MATH-SUM", "05"), ("ELA-SUM", "04")} <= {
                (cell["test"], cell["grade"]) for cell in school["cells"]
            }

        wait_until(both_shown, what="both cells")  # a put may be a shared one of a moment ago
        with stream(client, f"school/{SECOND_SCHOOL}", query=query) as reader:
            said = opened(reader)
            assert (said["tests"], said["grades"]) == (["CAST", "MATH-SUM"], ["05", "08"])
            assert set(reader.until("put").cells(SECOND_SCHOOL)) == {"2026:MATH-SUM:05"}
            worker.apply(SECOND_SCHOOL, [scored(2400, 2)], test="ELA-SUM", grade="04")
            worker.apply(SECOND_SCHOOL, [scored(2400, 2)], test="CAST", grade="08")
            assert set(reader.until("patch").cells(SECOND_SCHOOL)) == {"2026:CAST:08"}
        cells = client.get(path, params={"grade": ["4", "5"]}).json()["organizations"][0]["cells"]
        assert [(cell["test"], cell["grade"]) for cell in cells] == [("ELA-SUM", "04"), ("MATH-SUM", "05")]


def test_a_school_that_opens_joins_the_streams_of_its_district(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    new = "19990020000299"
    subtree = f"district/{OTHER_DISTRICT}/schools"
    with gateway.client(OTHER_DISTRICT) as client, stream(client, subtree) as reader:
        assert opened(reader)["organizations"] == 1
        reader.until("put")
        worker.list_organizations([{"cds": new, "name": "Gingko High", "kind": "school"}])
        assert opened(reader)["organizations"] == 2
        assert new in named(reader.until("put"))
        worker.apply(new, [scored(2600, 4)])
        assert reader.until("patch", lambda event: new in named(event))


# Changing and renewing, from another node.


def test_any_node_changes_what_a_stream_watches(gateway: GatewayProcess, other_node: GatewayProcess) -> None:
    with (
        gateway.client(DISTRICT) as client,
        other_node.client(**bearer(gateway, DISTRICT)) as elsewhere,
        stream(client, f"school/{SCHOOL}") as reader,
    ):
        stream_id = opened(reader)["stream"]
        reader.until("put")
        answer = change(elsewhere, stream_id, f"school/{SECOND_SCHOOL}", f"district/{DISTRICT}")
        assert (answer.status_code, answer.json()) == (202, {"stream": stream_id})
        said = opened(reader)
        assert said["topics"] == [f"school/{SECOND_SCHOOL}", f"district/{DISTRICT}"]
        assert said["dropped"] == [SCHOOL] and said["stream"] == stream_id
        assert set(named(reader.until("put"))) == {SECOND_SCHOOL, DISTRICT}
        assert change(client, stream_id, f"school/{SECOND_SCHOOL}", grades=["8"]).status_code == 202
        said = opened(reader)
        assert said["grades"] == ["08"] and said["dropped"] == [DISTRICT]
        put = reader.until("put")
        assert named(put) == [SECOND_SCHOOL] and "2026:ELA-SUM:03" not in put.cells(SECOND_SCHOOL)


def test_any_node_renews_a_stream_before_its_token_expires(
    gateway: GatewayProcess, other_node: GatewayProcess
) -> None:
    expiring = gateway.client(**bearer(gateway, DISTRICT, seconds=8))
    with expiring as client, stream(client, f"school/{SCHOOL}") as reader:
        said = opened(reader)
        challenge = reader.until("challenge").data
        assert challenge == {"expires": said["expires"], "renew": f"/v1/streams/{said['stream']}/renew"}
        with other_node.client(**bearer(gateway, DISTRICT)) as elsewhere:
            assert elsewhere.post(challenge["renew"]).status_code == 202
        assert opened(reader)["expires"] > said["expires"]
        expired = datetime.fromisoformat(said["expires"])
        reader.until("progress", lambda _: datetime.now(UTC) > expired)
        assert "bye" not in [event.kind for event in reader.seen]


def test_a_narrower_token_renews_nothing(gateway: GatewayProcess, other_node: GatewayProcess) -> None:
    with gateway.client(DISTRICT) as client, stream(client, f"district/{DISTRICT}/schools") as reader:
        stream_id = opened(reader)["stream"]
        with other_node.client(**bearer(gateway, SCHOOL)) as elsewhere:
            refused = elsewhere.post(f"/v1/streams/{stream_id}/renew")
        assert refused.status_code == 403
        assert client.post(f"/v1/streams/{stream_id}/renew").status_code == 202


def test_nobody_commands_another_subjects_stream(gateway: GatewayProcess, other_node: GatewayProcess) -> None:
    someone_else = bearer(gateway, DISTRICT, subject="other@example.test")
    with gateway.client(DISTRICT) as client, stream(client, f"school/{SCHOOL}") as reader:
        stream_id = opened(reader)["stream"]
        for node in (gateway, other_node):
            with node.client(**someone_else) as other:
                guessed = f"{node_of(stream_id)}.AAAAAAAAAAAA"
                for answers in (
                    [change(other, known, f"school/{SECOND_SCHOOL}") for known in (stream_id, guessed)],
                    [other.post(f"/v1/streams/{known}/renew") for known in (stream_id, guessed)],
                ):
                    assert [answer.status_code for answer in answers] == [404, 404]
                    assert answers[0].content == answers[1].content
            with node.client() as nobody:
                assert change(nobody, stream_id, f"school/{SCHOOL}").status_code == 401
                assert nobody.post(f"/v1/streams/{stream_id}/renew").status_code == 401


def test_a_change_to_what_is_not_open_changes_nothing(
    gateway: GatewayProcess, other_node: GatewayProcess
) -> None:
    with (
        gateway.client(SCHOOL) as client,
        other_node.client(**bearer(gateway, DISTRICT)) as elsewhere,
        stream(client, f"school/{SCHOOL}") as reader,
    ):
        stream_id = opened(reader)["stream"]
        refused = change(client, stream_id, f"school/{OTHER_SCHOOL}")
        assert refused.status_code == 403
        # The request's token opens it, the stream's does not.
        by_the_streams_node = change(elsewhere, stream_id, f"school/{SECOND_SCHOOL}")
        assert (by_the_streams_node.status_code, by_the_streams_node.content) == (403, refused.content)
        assert change(elsewhere, stream_id, "school/1").status_code == 400
        assert change(client, stream_id, f"school/{SCHOOL}", years=[2026]).status_code == 202
        assert opened(reader)["topics"] == [f"school/{SCHOOL}"]


def test_a_stream_that_is_over_or_whose_node_is_gone_is_not_found(
    server: RedisServer, gateway: GatewayProcess, other_node: GatewayProcess
) -> None:
    token = bearer(gateway, DISTRICT)
    with (
        gateway_process(server.url, SCORES_JWKS_FILE=str(gateway.issuer.jwks_file)) as gone,
        gone.client(**token) as client,
        stream(client, f"school/{SCHOOL}") as reader,
    ):
        of_a_gone_node = opened(reader)["stream"]
    with gateway.client(**token) as client, stream(client, f"school/{SCHOOL}") as reader:
        over = opened(reader)["stream"]
    with other_node.client(**token) as elsewhere:

        def answer(stream_id: str) -> int:
            status: int = elsewhere.post(f"/v1/streams/{stream_id}/renew").status_code
            return status

        wait_until(lambda: answer(over) == 404, what="the end of the stream")
        assert answer(of_a_gone_node) == 404
        assert answer(new_stream_id(over.partition(".")[0])) == 404
        assert answer("a.b*") == answer("no-id") == answer("x" * 500) == 404


def test_a_loop_of_changes_is_asked_to_wait(gateway: GatewayProcess) -> None:
    with gateway.client(DISTRICT) as client, stream(client, f"school/{SCHOOL}") as reader:
        stream_id = opened(reader)["stream"]
        answers = [client.post(f"/v1/streams/{stream_id}/renew") for _ in range(40)]
        assert {answer.status_code for answer in answers} == {202, 429}
        assert answers[-1].headers["retry-after"] == "2"
        assert answers[-1].headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "kind", "status", "told"),
    [
        (b"topic=school/1", "application/x-www-form-urlencoded", 415, "expected application/json"),
        (b"{", "application/json", 400, "not as expected"),
        (b'{"topics":"school/1"}', "application/json", 400, "not as expected"),
        (b'{"topics":[]}', "application/json", 400, "No topic is named"),
        (b'{"topics":["school/19990010000101"],"tests":[]}', "application/json", 400, "leave the list out"),
        (b'{"topics":["school/19990010000101"],"extra":1}', "application/json", 400, "unknown field"),
        (b'{"topics":["\xff"]}', "application/json", 400, "not as expected"),
        (b'{"topics":["' + b"x" * 70_000 + b'"]}', "application/json", 413, "65536 bytes"),
    ],
)
def test_a_change_in_another_form_is_refused_with_the_remedy(
    gateway: GatewayProcess, body: bytes, kind: str, status: int, told: str
) -> None:
    with gateway.client(DISTRICT, **{"Content-Type": kind}) as client:
        refused = client.post("/v1/streams/a.b/subscription", content=body)
    assert refused.status_code == status and told in refused.json()["detail"]


def test_nodes_hear_each_other_again_after_redis_was_away(gateway: GatewayProcess) -> None:
    with redis_server() as server:
        worker = FakeWorker(server.url)
        worker.list_organizations(ORGANIZATIONS)
        worker.serve()
        keys = {"SCORES_JWKS_FILE": str(gateway.issuer.jwks_file)}
        with (
            gateway_process(server.url, **keys) as one,
            gateway_process(server.url, **keys) as two,
            one.client(**bearer(gateway, DISTRICT)) as client,
            two.client(**bearer(gateway, DISTRICT)) as elsewhere,
            stream(client, f"school/{SCHOOL}") as reader,
        ):
            renewal = f"/v1/streams/{opened(reader)['stream']}/renew"
            server.stop()
            away = elsewhere.post(renewal)
            assert away.status_code == 503 and away.headers["retry-after"]
            assert client.post(renewal).status_code == 202  # its own node needs no Redis for it
            server.start()
            wait_until(lambda: elsewhere.post(renewal).status_code == 202, what="the nodes' channel")


# Who may open how many.


def farewell(reader: EventReader) -> str:
    opening, bye = reader.next(), reader.next()
    assert opening is not None and opening.comment == "ok"
    assert bye is not None and bye.kind == "bye" and reader.next() is None
    assert 15_000 <= bye.data["retry_ms"] <= 30_000 and bye.data["reconnect"] is True
    return str(bye.data["reason"])


def test_too_many_streams_are_sent_away_in_a_way_that_eventsource_survives(
    server: RedisServer, gateway: GatewayProcess
) -> None:
    limits = {
        "SCORES_STREAMS_PER_SUBJECT": "2",
        "SCORES_STREAMS_PER_ADDRESS": "3",
        "SCORES_STREAMS_PER_NODE": "4",
    }
    topic = f"school/{SCHOOL}"

    def headers(subject: str, address: str) -> dict[str, str]:
        return {**bearer(gateway, DISTRICT, subject=subject), "X-Forwarded-For": address}

    with (
        gateway_process(server.url, SCORES_JWKS_FILE=str(gateway.issuer.jwks_file), **limits) as small,
        small.client() as client,
    ):

        def reason(subject: str, address: str) -> str:
            with stream(client, topic, **headers(subject, address)) as reader:
                return farewell(reader)

        with stream(client, topic, **headers("one", "192.0.2.1")) as reader:
            opened(reader)
            with stream(client, topic, **headers("one", "192.0.2.1")) as second:
                opened(second)
                assert reason("one", "192.0.2.2") == "too_many_streams"
                assert client.head(
                    "/v1/stream", params={"topic": topic}, headers=headers("two", "x")
                ).is_success
                with stream(client, topic, **headers("two", "192.0.2.1")) as third:
                    opened(third)
                    assert reason("two", "192.0.2.1") == "overloaded"
                    with stream(client, topic, **headers("two", "192.0.2.2")) as fourth:
                        opened(fourth)
                        assert reason("three", "192.0.2.3") == "overloaded"
            counts = client.get("/metrics").text
            assert 'scores_sse_connects_total{outcome="too_many_streams"} 1.0' in counts
            assert 'scores_sse_connects_total{outcome="overloaded"} 2.0' in counts

            def let_in() -> bool:
                with stream(client, topic, **headers("one", "192.0.2.1")) as again:
                    event = again.next(), again.next()
                    return event[1] is not None and event[1].kind == "subscribed"

            wait_until(let_in, what="a place for the one who came back")


def test_nobody_makes_up_an_address_but_a_proxy_that_is_named(
    server: RedisServer, gateway: GatewayProcess
) -> None:
    settings = {
        "SCORES_JWKS_FILE": str(gateway.issuer.jwks_file),
        "SCORES_STREAMS_PER_ADDRESS": "1",
        "SCORES_TRUSTED_PROXIES": "192.0.2.1, 2001:db8::/32",
    }
    with (
        gateway_process(server.url, **settings) as small,
        small.client(**bearer(gateway, DISTRICT)) as client,
        stream(client, f"school/{SCHOOL}", **{"X-Forwarded-For": "198.51.100.1"}) as reader,
    ):
        opened(reader)
        with stream(client, f"school/{SCHOOL}", **{"X-Forwarded-For": "198.51.100.2"}) as second:
            assert farewell(second) == "overloaded"


# In a cluster.


def test_commands_travel_in_a_redis_cluster_too(gateway: GatewayProcess) -> None:
    with EmbeddedRedisCluster() as cluster:
        with RedisCluster.from_url(cluster.url) as client:
            for entry in ORGANIZATIONS:
                client.hset(DIRECTORY_KEY, entry["cds"], json.dumps(entry))
            client.incr(ORGANIZATIONS_VERSION)
        keys = {"SCORES_JWKS_FILE": str(gateway.issuer.jwks_file), "SCORES_REDIS_CLUSTER": "yes"}
        with (
            gateway_process(cluster.url, ready=False, **keys) as one,
            gateway_process(cluster.url, ready=False, **keys) as two,
            one.client(**bearer(gateway, DISTRICT)) as here,
            two.client(**bearer(gateway, DISTRICT)) as elsewhere,
            stream(here, f"school/{SCHOOL}") as reader,
        ):
            stream_id = opened(reader)["stream"]
            node = stream_id.partition(".")[0]
            wait_until(
                lambda: change(elsewhere, stream_id, f"school/{SECOND_SCHOOL}").status_code == 202,
                what="the nodes' channel",
            )
            assert opened(reader)["topics"] == [f"school/{SECOND_SCHOOL}"]
            assert elsewhere.post(f"/v1/streams/{new_stream_id(node)}/renew").status_code == 404
            cluster.master_of(f"gateway:{node}").close(grace_seconds=0.0)
            wait_until(
                lambda: elsewhere.post(f"/v1/streams/{stream_id}/renew").status_code == 202,
                seconds=30,
                what="the nodes' channel on a replica",
            )

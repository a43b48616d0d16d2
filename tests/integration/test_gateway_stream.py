"""Subscribers of a real gateway over a real Redis: what they are sent, what they may not have, how they come back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

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
    Event,
    GatewayProcess,
    gateway_process,
    redis_server,
    stream,
    wait_until,
)
from integration.gateway_probes import counted

from schemas.figures import FIGURES_HEADER

ELA = "2026:ELA-SUM:03"
TOPICS = (f"school/{SCHOOL}", f"district/{DISTRICT}")


@pytest.fixture(scope="module")
def worker() -> Iterator[FakeWorker]:
    with redis_server() as server:
        made = FakeWorker(server.url)
        made.list_organizations(ORGANIZATIONS)
        made.apply(SCHOOL, [scored(2450, 3), scored(2400, 2)])
        made.apply(SCHOOL, [scored(2500, 4)], partition=1)
        made.apply(SECOND_SCHOOL, [scored(2300, 1)], partition=1)
        made.apply(OTHER_SCHOOL, [scored(2510, 4)])
        made.serve()
        yield made


@pytest.fixture(scope="module")
def gateway(worker: FakeWorker) -> Iterator[GatewayProcess]:
    host = worker.redis.connection_pool.connection_kwargs
    with gateway_process(f"redis://{host['host']}:{host['port']}/0") as running:
        yield running


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with gateway.client(DISTRICT) as made:
        yield made


def test_a_subscriber_is_sent_everything_and_then_each_change(
    client: httpx.Client, worker: FakeWorker
) -> None:
    with stream(client, *TOPICS) as reader:
        opening = reader.next()
        assert opening is not None and opening.comment == "ok"
        assert opening.retry is not None and 2000 <= opening.retry < 8000
        put = reader.until("put")
        assert put.data["preliminary"] is True and put.data["generation"] == "g1"
        before = put.cells(SCHOOL)[ELA]
        assert put.data["organizations"][1]["name"] == "Birch Valley Unified"
        # The shares of both partitions, added up; the district's has its second school, too.
        assert put.cells(DISTRICT)[ELA]["with_scores"] == before["with_scores"] + 1
        worker.apply(SCHOOL, [scored(2460, 3)])
        patch = reader.until("patch")
        assert patch.data["preliminary"] is True
        after = patch.cells(SCHOOL)[ELA]
        assert after["with_scores"] == before["with_scores"] + 1
        assert after["version"] > before["version"] and after["changed"] > before["changed"]
        assert patch.cells(DISTRICT)[ELA]["with_scores"] == after["with_scores"] + 1


def test_headers_keep_proxies_from_holding_or_changing_the_stream(client: httpx.Client) -> None:
    with stream(client, *TOPICS) as reader:
        headers = reader.response.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in headers


def test_a_rescore_replaces_the_earlier_score_in_the_next_frame(
    client: httpx.Client, worker: FakeWorker
) -> None:
    worker.apply(SCHOOL, [scored(2431, 2)], grade="04")
    with stream(client, f"school/{SCHOOL}") as reader:
        reader.until("put")
        worker.apply(SCHOOL, [scored(2432, 3)], removed=[scored(2431, 2)], grade="04")
        rescored = reader.until("patch", lambda event: _mean(event, "2026:ELA-SUM:04") not in (None, 2431))
        cell = rescored.cells(SCHOOL)["2026:ELA-SUM:04"]
        assert (cell["with_scores"], cell["mean"]) == (1, 2432)
        assert [level["count"] for level in cell["levels"]] == [0, 0, 1, 0]


def _mean(event: Event, name: str) -> int | None:
    cell = event.cells(SCHOOL).get(name)
    return None if cell is None else cell["mean"]


def test_a_cell_whose_last_student_leaves_is_sent_as_zero_results_and_then_no_more(
    client: httpx.Client, worker: FakeWorker
) -> None:
    worker.apply(SCHOOL, [scored(2500, 2)], grade="05")
    # A put may be a shared one of a moment ago, with the change following it; here it must hold the cell.
    wait_until(lambda: ("ELA-SUM", "05") in _cells(client), what="the new cell")
    with stream(client, f"school/{SCHOOL}") as reader:
        assert reader.until("put").cells(SCHOOL)["2026:ELA-SUM:05"]["results"] == 1
        worker.apply(SCHOOL, [], removed=[scored(2500, 2)], grade="05")
        cell = reader.until("patch").cells(SCHOOL)["2026:ELA-SUM:05"]
        assert (cell["results"], cell["mean"]) == (0, None)
    wait_until(lambda: ("ELA-SUM", "05") not in _cells(client), what="the end of the cell")
    with stream(client, f"school/{SCHOOL}") as reader:
        assert "2026:ELA-SUM:05" not in reader.until("put").cells(SCHOOL)


def test_changes_elsewhere_send_nothing(client: httpx.Client, worker: FakeWorker) -> None:
    with stream(client, f"school/{SECOND_SCHOOL}") as reader:
        reader.until("put")
        worker.apply(OTHER_SCHOOL, [scored(2500, 4)])
        worker.apply(SECOND_SCHOOL, [scored(2301, 1)])
        reader.until("patch")
        named = {
            one["id"] for event in reader.seen if event.kind == "patch" for one in event.data["organizations"]
        }
        assert named == {SECOND_SCHOOL}


def test_progress_tells_up_to_when_the_data_are_complete(client: httpx.Client, worker: FakeWorker) -> None:
    with stream(client, f"school/{SCHOOL}") as reader:
        first = reader.until("progress")
        assert first.data["live"] is True
        later = worker.apply(SECOND_SCHOOL, [scored(2302, 1)]) + 60_000
        worker.complete(later)
        reader.until("progress", lambda event: event.data["complete"] > first.data["complete"])


def test_coming_back_with_the_last_id_brings_what_changed_since(
    client: httpx.Client, worker: FakeWorker
) -> None:
    worker.apply(SCHOOL, [scored(2450, 3)], grade="06")
    with stream(client, f"school/{SCHOOL}") as reader:
        held = reader.until("put")
    assert held.id is not None
    generation, milliseconds = held.id.split(".")
    # As if it had been away for a minute, apart from one change just now.
    worker.apply(SCHOOL, [scored(2451, 3)], grade="06")
    wait_until(lambda: _stands_after(client, held.id), what="two seconds of the tables' time")
    recent = str(int(_current_id(client).split(".")[1]))
    worker.apply(SCHOOL, [scored(2452, 3)], grade="07")
    with stream(client, f"school/{SCHOOL}", **{"Last-Event-ID": f"{generation}.{recent}"}) as reader:
        patch = reader.until("patch")
        assert "2026:ELA-SUM:07" in patch.cells(SCHOOL)
        assert ELA not in patch.cells(SCHOOL)
        assert not [event for event in reader.seen if event.kind == "put"]
    with stream(client, f"school/{SCHOOL}", **{"Last-Event-ID": f"{generation}.{milliseconds}"}) as reader:
        assert {"2026:ELA-SUM:06", "2026:ELA-SUM:07"} <= set(reader.until("patch").cells(SCHOOL))


def _current_id(client: httpx.Client) -> str:
    with stream(client, f"school/{SECOND_SCHOOL}") as reader:
        return str(reader.until("put").id)


def _stands_after(client: httpx.Client, held: str | None) -> bool:
    assert held is not None
    return int(_current_id(client).split(".")[1]) > int(held.split(".")[1]) + 4_000


@pytest.mark.parametrize(
    "forged",
    ["g2.1777896000000", "g1.999999999999999", "g1", "../../etc", "g1.1e3", "-", "g1.-1"],
    ids=[
        "of another generation",
        "of the future",
        "cut short",
        "of a path",
        "as a float",
        "of a dash",
        "negative",
    ],
)
def test_an_id_that_is_not_ours_brings_everything(client: httpx.Client, forged: str) -> None:
    with stream(client, f"school/{SCHOOL}", **{"Last-Event-ID": forged}) as reader:
        assert ELA in reader.until("put").cells(SCHOOL)


@pytest.mark.parametrize("name", ["last_event_id", "lastEventId"])
def test_the_id_may_come_in_the_query_and_the_header_wins(client: httpx.Client, name: str) -> None:
    topic = f"school/{SCHOOL}"
    query = {"topic": topic, name: _current_id(client)}
    with client.stream("GET", "/v1/stream", params=query) as response:
        assert "event: put" not in _until_progress(response)
    with client.stream("GET", "/v1/stream", params=query, headers={"Last-Event-ID": "x.1"}) as response:
        assert "event: put" in _until_progress(response)


def _until_progress(response: httpx.Response) -> list[str]:
    seen: list[str] = []
    for line in response.iter_lines():
        seen.append(line)
        if line == "event: progress":
            return seen
    raise AssertionError(f"no progress in {seen}")


def test_five_hundred_topics_fit_one_stream_and_one_more_is_told_the_limit(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    schools = [f"1999003{number:07d}" for number in range(1, 502)]
    worker.list_organizations({"cds": cds, "name": f"School {cds}", "kind": "school"} for cds in schools)
    worker.apply(schools[0], [scored(2450, 3)])
    with gateway.client(STATE) as client:
        wait_until(lambda: len(_organizations(client, "19990030000000")) > 500, what="the new directory")
        topics = [f"school/{cds}" for cds in schools]
        with stream(client, *topics[:500]) as reader:
            named: list[str] = []
            while len(named) < 500:
                named += [one["id"] for one in reader.until("put").data["organizations"]]
            assert named == schools[:500]
            assert [event.id is not None for event in reader.seen if event.kind == "put"][-1]
            worker.apply(schools[0], [scored(2451, 3)])
            reader.until("patch", lambda event: event.cells(schools[0]).get(ELA, {}).get("with_scores") == 2)
        refused = client.get("/v1/stream", params={"topic": topics})
        assert refused.status_code == 400
        assert "up to 500" in refused.json()["detail"]


def _organizations(client: httpx.Client, under: str) -> list[str]:
    return [
        one["id"] for one in client.get("/v1/organizations", params={"under": under}).json()["organizations"]
    ]


def test_a_renamed_school_is_sent_with_its_new_name(client: httpx.Client, worker: FakeWorker) -> None:
    with stream(client, f"school/{SECOND_SCHOOL}") as reader:
        assert reader.until("put").data["organizations"][0]["name"] == "Dogwood Elementary"
        worker.list_organizations([{"cds": SECOND_SCHOOL, "name": "Hawthorn Elementary", "kind": "school"}])
        assert reader.until("put").data["organizations"][0]["name"] == "Hawthorn Elementary"
    worker.list_organizations([{"cds": SECOND_SCHOOL, "name": "Dogwood Elementary", "kind": "school"}])


@pytest.mark.parametrize(
    "path",
    [
        f"/v1/stream?topic=district/{OTHER_DISTRICT}",
        f"/v1/stream?topic=school/{OTHER_SCHOOL}",
        f"/v1/stream?topic=county/{COUNTY}",
        f"/v1/stream?topic=state/{STATE}",
        "/v1/stream?topic=school/19990020000999",
        f"/v1/stream?topic=school/{SCHOOL}&topic=school/{OTHER_SCHOOL}",
        "/v1/stream?topic=school/19990010000999",
        f"/v1/aggregates/{OTHER_SCHOOL}",
        f"/v1/aggregates/{COUNTY}",
        "/v1/aggregates/19990020000999",
        "/v1/aggregates/19990010000999",
    ],
)
def test_a_districts_token_opens_nothing_else_and_is_not_told_what_exists(
    client: httpx.Client, path: str
) -> None:
    known = client.get(f"/v1/stream?topic=district/{OTHER_DISTRICT}")
    refused = client.get(path)
    assert refused.status_code == 403
    assert refused.content == known.content
    assert _without_date(refused) == _without_date(known)


def _without_date(response: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name != "date"}


def test_whoever_only_loads_results_reads_none(gateway: GatewayProcess) -> None:
    token = gateway.token(STATE, role="ASMTDATALOAD")
    with gateway.client(Authorization=f"Bearer {token}") as client:
        assert client.get(f"/v1/aggregates/{SCHOOL}").status_code == 403
        assert client.get("/v1/organizations").json() == {"organizations": []}


def test_the_list_of_organizations_holds_those_that_the_token_opens(client: httpx.Client) -> None:
    assert {DISTRICT, SCHOOL, SECOND_SCHOOL} <= set(_organizations(client, STATE))
    assert not {COUNTY, OTHER_DISTRICT, OTHER_SCHOOL, STATE} & set(_organizations(client, STATE))
    assert _organizations(client, OTHER_DISTRICT) == []
    assert _organizations(client, SCHOOL) == [SCHOOL]


def test_aggregates_are_the_same_figures_as_the_stream(client: httpx.Client) -> None:
    with stream(client, f"district/{DISTRICT}") as reader:
        put = reader.until("put")
    answer = client.get(f"/v1/aggregates/{DISTRICT}")
    assert answer.headers["cache-control"] == "private, no-store"
    body = answer.json()
    assert body["organizations"] == put.data["organizations"]
    assert body["preliminary"] is True and body["complete"] is not None


def test_aggregates_narrow_by_year_test_and_grade(client: httpx.Client, worker: FakeWorker) -> None:
    worker.apply(SCHOOL, [scored(210, 2)], test="CAST", grade="05")
    wait_until(lambda: _cells(client, test="CAST") == [("CAST", "05")], what="the new cell")
    assert {test for test, _ in _cells(client, grade="3")} == {"ELA-SUM"}
    assert _cells(client, year="2019") == []


def _cells(client: httpx.Client, **query: str) -> list[tuple[str, str]]:
    body = client.get(f"/v1/aggregates/{SCHOOL}", params=query).json()
    return [(cell["test"], cell["grade"]) for cell in body["organizations"][0]["cells"]]


@pytest.mark.parametrize("ask", [{"params": {"format": "csv"}}, {"headers": {"Accept": "text/csv"}}])
def test_aggregates_as_csv_say_preliminary_in_every_row(
    client: httpx.Client, ask: dict[str, dict[str, str]]
) -> None:
    answer = client.get(f"/v1/aggregates/{SCHOOL}", **ask)  # type: ignore[arg-type]  # either of two arguments
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert rows and tuple(rows[0]) == (*FIGURES_HEADER, "stale")
    assert {row["stale"] for row in rows} == {"false"}
    assert {row["preliminary"] for row in rows} == {"true"}
    assert {row["organization_name"] for row in rows} == {"Cedar Elementary"}


def test_a_name_that_a_spreadsheet_would_run_is_made_plain(
    gateway: GatewayProcess, worker: FakeWorker
) -> None:
    cds = "19990040000401"
    worker.list_organizations([{"cds": cds, "name": "=HYPERLINK(1)", "kind": "school"}])
    worker.apply(cds, [scored(2450, 3)])
    with gateway.client(STATE) as client:
        wait_until(lambda: cds in _organizations(client, cds), what="the new school")
        text = client.get(f"/v1/aggregates/{cds}?format=csv").text
    assert "'=HYPERLINK(1)" in text


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("/v1/aggregates/1999", 400, "1999"),
        (f"/v1/aggregates/{SCHOOL}?year=26", 400, "is '26'"),
        (f"/v1/aggregates/{SCHOOL}?grade=14", 400, "14"),
        (f"/v1/aggregates/{SCHOOL}?format=xml", 400, "expected json or csv"),
        ("/v1/stream", 400, "topic is named"),
        ("/v1/stream?topic=class/1", 400, "class/1"),
        ("/v1/organizations?under=x", 400, "CDS"),
        ("/v2/anything", 404, "/openapi.json"),
    ],
)
def test_a_wrong_request_is_answered_with_the_value_and_the_remedy(
    client: httpx.Client, path: str, status: int, named: str
) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in answer.json()["detail"]


def test_a_wrong_method_is_a_problem_too(client: httpx.Client) -> None:
    answer = client.post(f"/v1/aggregates/{SCHOOL}")
    assert answer.status_code == 405 and answer.json()["title"] == "Method Not Allowed"


def test_head_of_a_stream_ends_at_once(client: httpx.Client) -> None:
    answer = client.head("/v1/stream", params={"topic": f"school/{SCHOOL}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_metrics_count_streams_and_frames_and_name_no_school(
    client: httpx.Client, gateway: GatewayProcess
) -> None:
    with stream(client, f"school/{SCHOOL}") as reader:
        reader.until("progress")
        text = httpx.get(f"{gateway.url}/metrics", trust_env=False, timeout=30).text
    assert "scores_sse_connections 1.0" in text
    assert 'scores_sse_frames_total{kind="put"}' in text
    assert "scores_build_info{" in text and "scores_fanout_seconds_bucket" in text
    assert SCHOOL not in text and "Cedar" not in text
    wait_until(
        lambda: counted(gateway, "scores_sse_connections") == 0,
        what="the hung-up stream to be forgotten",
    )


def test_the_description_of_the_api_is_served(gateway: GatewayProcess) -> None:
    body = httpx.get(f"{gateway.url}/openapi.json", trust_env=False, timeout=30).json()
    assert body["openapi"] == "3.1.0" and "/v1/stream" in body["paths"]

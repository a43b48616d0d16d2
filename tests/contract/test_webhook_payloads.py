"""The bodies of webhooks byte for byte, as receivers rely on them, and one signed request.

A difference means that the wire format changes, and that the messages of the same facts get other ids. When that is meant (a
new field with a default, say), renew the golden files, read the difference, and note it under "Wire format" in the changelog:

    RENEW_GOLDEN=1 python -m pytest tests/contract/test_webhook_payloads.py
"""

from __future__ import annotations

import os
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.aggregate_changes import ResultChange
from schemas.aggregates import CellName
from schemas.identifiers import Grade, TestCode
from schemas.webhooks.endpoints import EventType
from schemas.webhooks.examples import (
    ENDPOINT,
    NOON_MS,
    example_cells,
    example_figures,
    example_results,
    example_school,
    examples,
)
from schemas.webhooks.ids import message_id
from schemas.webhooks.openapi import event_of, webhook_schemas
from schemas.webhooks.payload_types import PAYLOADS, AggregateUpdated, ResultRescored, read_payload
from schemas.webhooks.payloads import (
    FULL_BYTES,
    THIN_BYTES,
    Body,
    ToldCell,
    aggregate_updated,
    results_changed,
)
from schemas.webhooks.secrets import new_secret
from schemas.webhooks.signing import signed_headers

GOLDEN = Path(__file__).parent / "golden"
GATEWAY = "https://scores.state.test"
SCHOOL, CELLS, EXAMS = example_school(), example_cells(), example_results()


def told(full: bool = False, cells: tuple[ToldCell, ...] = CELLS) -> Body:
    [body] = aggregate_updated(SCHOOL, cells, base_url=GATEWAY, full=full)
    return body


def exams(event: EventType, results: tuple[ResultChange, ...] = EXAMS) -> Body:
    [body] = results_changed(event, SCHOOL, results, base_url=GATEWAY)
    return body


def compare(name: str, current: bytes) -> None:
    path = GOLDEN / name
    if os.environ.get("RENEW_GOLDEN") == "1":
        path.write_bytes(current)
        pytest.fail(f"{name} was renewed; read its difference, then run again without RENEW_GOLDEN")
    assert path.read_bytes() == current, (
        f"{name} differs; the head of this file says how to renew it on purpose"
    )


@pytest.mark.parametrize("name", examples())
def test_a_body_is_written_byte_for_byte_as_published(name: str) -> None:
    compare(f"webhook-{name}.json", examples()[name].content + b"\n")


def test_a_request_is_signed_byte_for_byte_as_published() -> None:
    """With the secrets whsec_ of the bytes 0 to 31, and an ed25519 seed of the bytes 32 to 63."""
    body = told().content
    secrets = (new_secret("v1", bytes(range(32))), new_secret("v1a", bytes(range(32, 64))))
    identity = message_id(ENDPOINT, body)
    headers = signed_headers(secrets, identity, NOON_MS // 1_000 + 5, body, version="0.1.0")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    shown = "".join(f"# verify with {secret.shown}\n" for secret in secrets)
    compare("webhook-request.txt", shown.encode() + lines.encode() + b"\r\n" + body)


def test_every_event_type_has_a_golden_body() -> None:
    assert {name.partition("-")[0] for name in examples()} == set(EventType)
    kinds = {type(read_payload(body.content)) for body in examples().values()}
    assert kinds == set(PAYLOADS)
    assert {event_of(payload) for payload in PAYLOADS} == set(EventType)


@pytest.mark.parametrize("name", examples())
def test_a_body_says_that_it_is_preliminary_and_is_read_back_whole(name: str) -> None:
    content = examples()[name].content
    body: dict[str, Any] = msgspec.json.decode(content)
    assert list(body) == ["type", "timestamp", "preliminary", "data"]
    assert body["preliminary"] is True
    assert msgspec.json.decode(msgspec.json.encode(read_payload(content))) == body


@pytest.mark.parametrize("name", examples())
def test_fields_of_a_later_version_do_not_keep_a_body_from_being_read(name: str) -> None:
    content = examples()[name].content
    assert read_payload(content[:-1] + b',"of_a_later_version":[1]}') == read_payload(content)


@pytest.mark.parametrize("full", [False, True], ids=["thin", "full"])
def test_the_same_cells_in_any_order_are_the_same_bytes(full: bool) -> None:
    assert len({told(full, order) for order in permutations(CELLS)}) == 1


def test_the_same_exams_in_any_order_are_the_same_bytes() -> None:
    assert len({exams(EventType.RESULT_RESCORED, order).content for order in permutations(EXAMS)}) == 1


def test_a_thin_body_has_no_figure() -> None:
    body: dict[str, Any] = msgspec.json.decode(told().content)
    assert {field for cell in body["data"]["cells"] for field in cell} == {
        "test",
        "school_year",
        "grade",
        "version",
        "changed",
    }


def test_a_cell_without_results_says_so_in_a_full_body() -> None:
    body: dict[str, Any] = msgspec.json.decode(told(full=True).content)
    assert [cell["figures"] is None for cell in body["data"]["cells"]] == [False, True]


def test_times_are_those_of_the_data() -> None:
    payload = read_payload(told().content)
    assert isinstance(payload, AggregateUpdated)
    assert payload.timestamp == payload.data.as_of == "2026-05-04T12:00:03.120Z"


@pytest.mark.parametrize(("full", "limit"), [(False, THIN_BYTES), (True, FULL_BYTES)], ids=["thin", "full"])
def test_a_large_organization_is_told_of_in_several_bodies_each_cell_once(full: bool, limit: int) -> None:
    names = [CellName(2026, TestCode(f"ELA-INTERIM-{number:03}"), Grade("03")) for number in range(400)]
    cells = [
        ToldCell(name, number, NOON_MS + number, example_figures(name, number))
        for number, name in enumerate(names)
    ]
    bodies = aggregate_updated(SCHOOL, cells, base_url=GATEWAY, full=full)
    assert len(bodies) > 1
    assert [name for body in bodies for name in body.cells] == names
    assert len({message_id(ENDPOINT, body.content) for body in bodies}) == len(bodies)
    for body in bodies:
        payload = read_payload(body.content)
        assert isinstance(payload, AggregateUpdated)
        assert len(body.content) <= limit
        assert body.version == max(cell.version for cell in payload.data.cells)
        assert payload.data.as_of == "2026-05-04T12:00:00.399Z"


def test_many_exams_of_a_school_are_told_of_in_several_bodies_each_once() -> None:
    many = [
        msgspec.structs.replace(EXAMS[0], opportunity_id=str(number), id=f"3-{number}")
        for number in range(300)
    ]
    bodies = results_changed(EventType.RESULT_RESCORED, SCHOOL, many, base_url=GATEWAY)
    payloads = [read_payload(body.content) for body in bodies]
    assert len(bodies) > 1
    assert all(len(body.content) <= THIN_BYTES for body in bodies)
    seen = [
        one.opportunity_id
        for payload in payloads
        if isinstance(payload, ResultRescored)
        for one in payload.data.results
    ]
    assert sorted(seen, key=int) == [str(number) for number in range(300)]


def test_results_are_told_of_by_their_two_events_only() -> None:
    with pytest.raises(KeyError):
        results_changed(EventType.AGGREGATE_UPDATED, SCHOOL, EXAMS, base_url=GATEWAY)


def test_exams_are_named_by_identifiers_only() -> None:
    schema = webhook_schemas()["ChangedResult"]
    assert list(schema["properties"]) == ["assessment_id", "opportunity_id", "school_year", "status_date"]


def test_the_notice_of_a_disabled_endpoint_keeps_its_address_to_itself() -> None:
    content = examples()["endpoint.disabled"].content
    assert b"sis.district.test" not in content
    assert b"of-the-district" not in content


def test_a_link_has_one_slash_however_the_gateways_address_is_written() -> None:
    with_slash = aggregate_updated(SCHOOL, CELLS, base_url=GATEWAY + "/")
    assert with_slash == aggregate_updated(SCHOOL, CELLS, base_url=GATEWAY)

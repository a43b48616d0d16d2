"""The receivers that docs/clients offers for copying take what the worker signs, once and in order, and nothing else."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from signed_webhooks import FORMER, PAIR, SECRET, deliveries
from webhook_programs import ReceiverProgram, command_of, running, signed, told, update

from schemas.environment import Secret
from schemas.webhooks.endpoints import Endpoint, Followed
from schemas.webhooks.ids import CONFIRMATION_HEADER
from schemas.webhooks.messages import MessageState
from schemas.webhooks.payloads import ping
from schemas.webhooks.secrets import SecretBox, SigningSecret, signing_secret
from tests.fake_worker import scored
from tests.stack import broker, store
from tests.webhook_stand import KEY, READER, WebhookStand, until
from tests.webhook_stand import SCHOOL as TOLD_SCHOOL

Start = Callable[..., AbstractContextManager[ReceiverProgram]]

NODE = pytest.mark.skipif(shutil.which("node") is None, reason="not run: node is not installed")
BODY = update(told("03", version=7), told("04", version=9))


@pytest.fixture(params=["webhook_receiver.py", pytest.param("webhook_receiver.mjs", marks=NODE)])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """Starts one of the receivers with these secrets; started again, it finds what it has kept."""

    def started(
        secrets: Sequence[SigningSecret] = (SECRET, PAIR),
    ) -> AbstractContextManager[ReceiverProgram]:
        shown = " ".join(secret.shown for secret in secrets)
        return running(command_of(request.param), {"WEBHOOK_SECRETS": shown}, tmp_path)

    return started


@pytest.fixture
def receiver(start: Start) -> Iterator[ReceiverProgram]:
    with start() as program:
        yield program


@pytest.mark.parametrize("secret", [SECRET, PAIR], ids=["v1", "v1a"])
def test_delivery_signed_by_the_worker_is_handled(start: Start, secret: SigningSecret) -> None:
    with start([secret]) as receiver:
        assert receiver.deliver(BODY, secrets=[secret]) == 204
        (handled,) = receiver.handled()
    assert handled == {"type": "aggregate.updated", "cells": 2, "event": json.loads(BODY)}


def test_every_kind_of_body_is_taken_and_whatever_became_of_it_on_the_way_is_refused(start: Start) -> None:
    sent = list(deliveries(int(time.time())))
    for secret in (SECRET, FORMER):
        with start([secret]) as receiver:
            for one in sent:
                if one.secret == secret.shown:
                    expected = 204 if one.accepted else 401
                    assert (one.name, receiver.post(one.body, one.headers)[0]) == (one.name, expected)


def test_worker_finds_it_confirmed_and_what_it_tells_is_handled(start: Start, tmp_path: Path) -> None:
    with broker("embedded", 2, tmp_path) as kafka, store("embedded") as redis, start() as receiver:
        stand = WebhookStand(kafka, redis.url, tmp_path)
        try:
            stand.put(endpoint_at(receiver.port))
            with stand.worker():
                stand.until_confirmed("ep_aspen")
                for number in (1, 2):  # the second one over the connection of the first
                    stand.tables.apply(TOLD_SCHOOL, [scored(2450, 3)])
                    stand.tell(TOLD_SCHOOL)
                    until(lambda number=number: delivered(stand) == number, f"message {number} is delivered")  # type: ignore[misc]
            handled = receiver.handled()
        finally:
            stand.close()
    cells = [one["event"]["data"]["cells"] for one in handled]
    assert [[cell["version"] for cell in told_of] for told_of in cells] == [[1], [2]]
    assert [one["cells"] for one in handled] == [1, 1]


def endpoint_at(port: int) -> Endpoint:
    """An endpoint that signs in both ways, and whose receiver is on this machine."""
    box = SecretBox(Secret(KEY.encode()))
    sealed = (
        box.seal(secret, endpoint="ep_aspen", nonce=bytes(11) + bytes([number]), created_ms=0)
        for number, secret in enumerate((SECRET, PAIR))
    )
    return Endpoint(
        id="ep_aspen",
        url=f"http://127.0.0.1:{port}/scores",
        subject="an owner",
        grants=READER,
        follows=(Followed(TOLD_SCHOOL),),
        interval_seconds=0,
        private_network=True,
        secrets=tuple(sealed),
    )


def delivered(stand: WebhookStand) -> int:
    """Messages about a school that arrived."""
    found = [one for one in stand.messages("ep_aspen") if one.organization]
    return sum(one.state is MessageState.DELIVERED for one in found)


def test_during_a_rotation_either_secret_opens_what_both_have_signed(start: Start) -> None:
    for known in (SECRET, FORMER, PAIR):
        with start([known]) as receiver:
            assert receiver.deliver(BODY, secrets=[SECRET, FORMER, PAIR]) == 204


def test_tampered_delivery_is_refused_and_not_handled(receiver: ReceiverProgram) -> None:
    secrets = [SECRET, PAIR]
    right = signed(BODY, secrets=secrets)
    later = str(int(right["webhook-timestamp"]) + 1)
    tampered = {
        "a figure": (BODY.replace(b'"version":7', b'"version":8'), right),
        "a byte more": (BODY + b" ", right),
        "no body": (b"", right),
        "another id": (BODY, right | {"webhook-id": "msg_other"}),
        "an id with a part of the time": (BODY, right | {"webhook-id": right["webhook-id"] + ".1"}),
        "another time": (BODY, right | {"webhook-timestamp": later}),
        "a stranger's signature": (BODY, signed(BODY, secrets=[FORMER])),
        "a key's signature as the secret's": (
            BODY,
            right | {"webhook-signature": right["webhook-signature"].replace("v1a,", "v1,").split(" ")[1]},
        ),
    }
    for what, (body, headers) in tampered.items():
        assert (what, receiver.post(body, headers)[0]) == (what, 401)
    assert receiver.handled() == []


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_delivery_without_one_of_the_headers_is_refused(receiver: ReceiverProgram, name: str) -> None:
    headers = signed(BODY)
    del headers[name]
    assert receiver.post(BODY, headers)[0] == 401
    assert receiver.handled() == []


def test_recorded_delivery_is_refused_after_five_minutes_and_so_is_one_of_the_future(
    receiver: ReceiverProgram,
) -> None:
    assert receiver.deliver(BODY, seconds_ago=310) == 401
    assert receiver.deliver(BODY, seconds_ago=-310) == 401
    assert receiver.deliver(BODY, seconds_ago=290) == 204
    assert len(receiver.handled()) == 1


def test_recorded_delivery_that_comes_again_at_once_is_not_handled_twice(receiver: ReceiverProgram) -> None:
    headers = signed(BODY)
    assert [receiver.post(BODY, headers)[0] for _ in range(3)] == [204, 204, 204]
    assert len(receiver.handled()) == 1


def test_second_attempt_of_a_message_is_answered_and_not_handled_again(receiver: ReceiverProgram) -> None:
    assert receiver.deliver(BODY, seconds_ago=60) == 204
    assert receiver.deliver(BODY) == 204
    assert len(receiver.handled()) == 1


def test_receiver_that_was_restarted_knows_what_it_had(start: Start) -> None:
    with start() as receiver:
        assert receiver.deliver(BODY) == 204
        assert len(receiver.handled()) == 1
    with start() as receiver:
        assert receiver.deliver(BODY) == 204
        assert receiver.deliver(update(told("03", version=6), told("04", version=10, minutes=1))) == 204
        (handled,) = receiver.handled()
    assert handled["cells"] == 1  # grade 04; what is said of grade 03 is older than what it had


def test_older_figures_that_arrive_later_are_dropped(receiver: ReceiverProgram) -> None:
    newer, older = update(told(version=9, minutes=2)), update(told(version=8, minutes=1))
    assert [receiver.deliver(newer), receiver.deliver(older)] == [204, 204]
    assert [handled["cells"] for handled in receiver.handled()] == [1, 0]


def test_figures_of_tables_built_anew_are_taken_by_their_time(receiver: ReceiverProgram) -> None:
    before, rebuilt = update(told(version=900, minutes=1)), update(told(version=3, minutes=2))
    assert [receiver.deliver(before), receiver.deliver(rebuilt)] == [204, 204]
    assert [handled["cells"] for handled in receiver.handled()] == [1, 1]


def test_question_whether_the_address_wants_webhooks_is_answered(receiver: ReceiverProgram) -> None:
    question = ping("ep_aspen", at_ms=1_777_896_000_000, confirmation="cfm_token").content
    status, headers = receiver.post(question, signed(question))
    assert (status, headers[CONFIRMATION_HEADER]) == (204, "cfm_token")
    status, headers = receiver.post(question, signed(question, secrets=[FORMER]))
    assert (status, headers.get(CONFIRMATION_HEADER)) == (401, None)


def test_event_of_a_type_that_is_not_known_yet_is_acknowledged(receiver: ReceiverProgram) -> None:
    assert receiver.deliver(b'{"type":"canteen.menu","data":{}}') == 204
    assert [handled["type"] for handled in receiver.handled()] == ["canteen.menu"]


def test_delivery_whose_handling_fails_comes_again_and_is_handled_then(receiver: ReceiverProgram) -> None:
    incomplete = b'{"type":"aggregate.updated"}'
    assert receiver.deliver(incomplete) == 500
    assert receiver.deliver(incomplete) == 500  # it was not taken for one that was handled
    assert receiver.deliver(BODY) == 204
    assert len(receiver.handled()) == 1
    assert "failed" in receiver.complained()


GARBAGE_SIGNATURES = [
    "",
    " ",
    ",",
    "v1",
    "v1,",
    "v1,%%%",
    "v1,AAAA",
    "v2,AAAA",
    "v1a,AAAA",
    "v1a," + "A" * 88,
    "v" * 4000,
]


def test_garbage_neither_ends_the_receiver_nor_keeps_it_from_the_next_delivery(
    receiver: ReceiverProgram,
) -> None:
    for signature in GARBAGE_SIGNATURES:
        assert receiver.post(BODY, signed(BODY) | {"webhook-signature": signature})[0] == 401
    for moment in ("", "soon", "-1", "1e9", "٣", "9" * 5000):
        assert (
            receiver.post(BODY, signed(BODY) | {"webhook-timestamp": moment.encode().decode("latin-1")})[0]
            == 401
        )
    for body in (
        b"[]",
        b"null",
        b"7",
        b"\xff",
        b'{"type":',
        b'{"type":["endpoint.ping"]}',
        b'{"type":"endpoint.ping"}',
    ):
        receiver.deliver(body)
    for raw in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n",
        b"POST",
    ):
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as connection:
            connection.sendall(raw)
    right = signed(BODY)
    among_others = "v9,new v1,AAAA " + right["webhook-signature"]
    assert receiver.post(BODY, right | {"webhook-signature": among_others})[0] == 204
    assert receiver.handled()[-1]["type"] == "aggregate.updated"


def test_body_that_is_too_long_is_cut_off(receiver: ReceiverProgram) -> None:
    long = b"{" * (5 << 20)
    for length in (len(long), 1 << 40):
        connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=60)
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", str(length))
        connection.endheaders()
        try:
            connection.send(long)
            assert connection.getresponse().status == 413
        except (BrokenPipeError, ConnectionResetError):
            pass  # it hung up before it was told everything: cut off as well
        finally:
            connection.close()
    assert receiver.deliver(BODY) == 204


def test_shared_secret_made_of_the_public_key_signs_nothing(start: Start) -> None:
    """Who knows a public key could otherwise sign like the owner of the private one."""
    forger = signing_secret(PAIR.shown.replace("whpk_", "whsec_"))
    with start([PAIR]) as receiver:
        assert receiver.deliver(BODY, secrets=[forger]) == 401
        assert receiver.handled() == []


def test_id_with_a_full_stop_is_refused_however_it_is_signed(receiver: ReceiverProgram) -> None:
    """It could be read as another id and another time."""
    assert receiver.deliver(BODY, message="msg_aspen.1777896000") == 401


@pytest.mark.parametrize("secrets", ["", "hunter2", "whsec_", "whsec_%%%", "whpk_AAAA"])
def test_receiver_without_a_secret_does_not_start(secrets: str, tmp_path: Path) -> None:
    for example in ("webhook_receiver.py", *(["webhook_receiver.mjs"] if shutil.which("node") else [])):
        with (
            pytest.raises(AssertionError, match="WEBHOOK_SECRETS is to be"),
            running(command_of(example), {"WEBHOOK_SECRETS": secrets}, tmp_path),
        ):
            pass

"""`scores webhooks listen` as a program: it verifies what the worker signs, says so, and outlives garbage."""

from __future__ import annotations

import os
import pty
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest
from signed_webhooks import FORMER, PAIR, SECRET
from webhook_programs import Address, ReceiverProgram, running, signed, told, update

from cli.stack.ports import free_port
from cli.webhooks.inbox import Delivery, Outcome
from cli.webhooks.receiving import LocalReceiver
from schemas.errors import InvalidInput
from schemas.webhooks.ids import CONFIRMATION_HEADER
from schemas.webhooks.payloads import ping

BODY = update(told(version=7))
Running = AbstractContextManager[ReceiverProgram]
LISTEN = [sys.executable, "-m", "cli", "webhooks", "listen", "--port", "0"]


def listening(folder: Path, *options: str, **environment: str) -> Running:
    return running([*LISTEN, *options], environment, folder, announced_on="stderr")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[ReceiverProgram]:
    secrets = f"{SECRET.shown} {PAIR.shown}"
    with listening(tmp_path, "--json", SCORES_WEBHOOK_SECRET=secrets) as program:
        yield program


def test_listener_tells_right_deliveries_from_others_and_from_repeats(receiver: ReceiverProgram) -> None:
    question = ping("ep_aspen", at_ms=0, confirmation="cfm_token").content
    status, headers = receiver.post(question, signed(question))
    assert (status, headers[CONFIRMATION_HEADER]) == (204, "cfm_token")
    answers = [
        receiver.deliver(BODY),
        receiver.deliver(BODY, secrets=[PAIR]),
        receiver.deliver(update(told(version=6, minutes=-1))),
        receiver.deliver(BODY, secrets=[FORMER]),
        receiver.deliver(BODY, seconds_ago=400),
        receiver.post(BODY.replace(b":7", b":8"), signed(BODY))[0],
    ]
    assert answers == [204, 204, 204, 401, 401, 401]
    told_of = receiver.handled()
    assert [one["outcome"] for one in told_of] == ["confirmed", "taken", "again", "older", *["refused"] * 3]
    assert told_of[1]["payload"]["data"]["organization"]["name"] == "Aspen Elementary"
    assert [one["payload"] for one in told_of[4:]] == [None] * 3


GARBAGE = {
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "nothing": b"",
    "another method": b"GET / HTTP/1.1\r\n\r\n",
    "no length": b"POST / HTTP/1.1\r\n\r\n",
    "a length that is none": b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "too long": b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    "chunks": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n",
    "not HTTP": b"\x00\xff\x1b[2J\r\n\r\n",
    "endless header": b"POST / HTTP/1.1\r\nX: " + b"a" * 100_000,
    "many headers": b"POST / HTTP/1.1\r\n" + b"X: a\r\n" * 1000,
}


def test_listener_outlives_garbage_and_does_not_print_it(receiver: ReceiverProgram) -> None:
    for raw in GARBAGE.values():
        with (
            suppress(OSError),  # it may hang up before it was told everything
            socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as connection,
        ):
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
        assert receiver.deliver(BODY) == 204
    *_, last = receiver.handled()
    assert last["outcome"] == "again"
    assert "\x1b" not in receiver.complained()
    assert "Traceback" not in receiver.complained()


def test_connection_with_something_else_than_a_delivery_is_closed(receiver: ReceiverProgram) -> None:
    """What follows would be read as a request of its own."""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n\r\n")
        shown = b""
        while part := connection.recv(4096):
            shown += part
    assert shown.startswith(b"HTTP/1.1 411 ")


def test_listener_takes_up_a_secret_that_comes_later(tmp_path: Path) -> None:
    file = tmp_path / "secret.txt"
    with listening(tmp_path, "--secret-file", "secret.txt", "--json") as receiver:
        assert receiver.deliver(BODY) == 503  # whoever sends tries again
        file.write_text(f"{SECRET.shown}\n")
        assert receiver.deliver(BODY) == 204
        file.write_text("whsec_abcd\n")
        assert receiver.deliver(update(told(version=8))) == 503  # too short for a secret
        file.write_text(f'ep_aspen\nsecret (v1): {FORMER.shown}\n{{"secret":"{SECRET.shown}"}}\n')
        assert receiver.deliver(update(told(version=8))) == 204


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "no secret is given"),
        (["--secret", "hunter2"], "whsec_"),
        (["--secret", SECRET.shown, "--host", "192.0.2.1"], "nothing can listen"),
    ],
)
def test_listener_says_why_it_cannot_start(options: list[str], reason: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=reason), listening(tmp_path, *options):
        pass


def test_lines_for_a_pipe_come_at_once_and_ctrl_c_is_a_good_end(tmp_path: Path) -> None:
    with listening(tmp_path, "--secret", SECRET.shown) as receiver:
        assert receiver.deliver(BODY) == 204
        assert "aggregate.updated  Aspen Elementary  ELA-SUM 03 v7" in receiver.next_line()
        assert receiver.end_by(signal.SIGINT) == 0


def test_table_on_a_terminal_shows_deliveries_and_how_many_there_were(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "cli",
        "webhooks",
        "listen",
        "--port",
        str(port),
        "--secret",
        SECRET.shown,
    ]
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "150", "LINES": "40", "TERM": "xterm"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=slave, stderr=slave) as process:
        os.close(slave)
        try:
            read_until(master, b"nothing yet")
            assert Address(port).deliver(BODY) == 204
            assert Address(port).deliver(BODY, secrets=[FORMER]) == 401
            shown = read_until(master, b"1 taken, 1 refused")
            assert b"Aspen Elementary" in shown + read_until(master, b"no signature fits")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
            os.close(master)


def read_until(terminal: int, wanted: bytes) -> bytes:
    """What a terminal shows up to then."""
    shown = b""
    while wanted not in shown:
        ready, _, _ = select.select([terminal], [], [], 20)
        assert ready, f"not within 20 s: {wanted!r} in {shown[-2000:]!r}"
        shown += os.read(terminal, 65536)
    return shown


def test_taken_port_is_named() -> None:
    def report(delivery: Delivery) -> None:
        raise AssertionError(f"nobody delivers, but {delivery}")

    with LocalReceiver(list, report) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(InvalidInput, match=f"127.0.0.1:{port}"):
            LocalReceiver(list, report, port=port)


def test_deliveries_are_reported_before_they_are_answered() -> None:
    reported: list[Delivery] = []
    with LocalReceiver(lambda: [SECRET.verifying], reported.append) as receiver:
        assert Address(int(receiver.url.rpartition(":")[2])).deliver(BODY) == 204
        assert [one.outcome for one in reported] == [Outcome.TAKEN]

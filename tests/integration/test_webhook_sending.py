"""Messages to receivers of every kind: those that answer, and those that try what can be done to a sender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from scripted_receiver import OK, ScriptedReceiver

from consumers.webhooks.answers import Limits
from consumers.webhooks.resolving import Resolver
from consumers.webhooks.sending import Answer, Sender
from schemas.errors import InvalidInput

pytestmark = pytest.mark.anyio

HEADERS = {
    "webhook-id": "msg_1",
    "webhook-timestamp": "1767225600",
    "webhook-signature": "v1,c2lnbmVk",
    "content-type": "application/json; charset=utf-8",
    "user-agent": "score-streaming-webhooks/0.1",
}
BODY = b'{"type":"aggregate.updated"}'
NOON = 1_767_225_600.0  # 2026-01-01 00:00:00 UTC
SHORT = Limits(seconds=2.0)  # long enough for a connection on a busy machine
HERE = ["127.0.0.1"]


class Names:
    """Where every name leads just now."""

    def __init__(self, addresses: Sequence[str] = HERE) -> None:
        self.addresses = addresses
        self.asked = 0

    async def __call__(self, name: str) -> Sequence[str]:
        self.asked += 1
        return self.addresses


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Both event loops: they report what goes wrong with a connection each in its own way."""
    return "asyncio", {"use_uvloop": request.param}


@asynccontextmanager
async def sending(
    names: Names | None = None, *, limits: Limits | None = None, keep_seconds: float = 0
) -> AsyncIterator[Sender]:
    resolver = Resolver(names or Names(), keep_seconds=keep_seconds)
    sender = Sender(resolver, limits=limits, now=lambda: NOON)
    try:
        yield sender
    finally:
        await sender.close()


async def post(
    sender: Sender,
    receiver: ScriptedReceiver,
    *,
    path: str = "/hook",
    body: bytes = BODY,
    want: str | None = None,
) -> Answer:
    url = f"http://hooks.example:{receiver.port}{path}"
    return await sender.send(url, HEADERS, body, private=True, want_header=want)


async def test_a_receiver_gets_the_message_byte_for_byte_and_nothing_besides() -> None:
    async with ScriptedReceiver() as receiver, sending() as sender:
        answer = await post(sender, receiver, path="/hook?key=%2F")

    assert (answer.status, answer.error, answer.response) == (200, "", "ok")
    assert receiver.requests == [
        (
            b"POST /hook?key=%2F HTTP/1.1\r\n"
            b"host: hooks.example:" + str(receiver.port).encode() + b"\r\n"
            b"webhook-id: msg_1\r\nwebhook-timestamp: 1767225600\r\nwebhook-signature: v1,c2lnbmVk\r\n"
            b"content-type: application/json; charset=utf-8\r\nuser-agent: score-streaming-webhooks/0.1\r\n"
            b"accept: */*\r\naccept-encoding: identity\r\ncontent-length: 28\r\n\r\n",
            BODY,
        )
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", "a\r\nhost: inner"),
        ("x", "a\nb"),
        ("x\r\ny", "a"),
        ("x:", "a"),
        ("", "a"),
        ("x", "\u00e9"),
        ("Host", "inner"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
    ],
)
async def test_a_header_that_would_change_the_request_is_not_sent(name: str, value: str) -> None:
    async with ScriptedReceiver() as receiver, sending() as sender:
        with pytest.raises(InvalidInput):
            await sender.send(
                f"http://hooks.example:{receiver.port}/", {**HEADERS, name: value}, BODY, private=True
            )
    assert receiver.connections == 0


async def test_messages_to_one_receiver_share_a_connection() -> None:
    async with ScriptedReceiver() as receiver, sending() as sender:
        for _ in range(5):
            assert (await post(sender, receiver)).status == 200
    assert (receiver.connections, len(receiver.requests)) == (1, 5)


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
async def test_a_receiver_can_be_given_by_its_address(address: str) -> None:
    async with ScriptedReceiver(host=address.strip("[]")) as receiver, sending() as sender:
        answer = await sender.send(f"http://{address}:{receiver.port}/", HEADERS, BODY, private=True)
    assert answer.status == 200
    assert f"host: {address}:{receiver.port}\r\n".encode() in receiver.requests[0][0]


# Where it may not go.


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:{port}/",
        "https://2130706433/",
        "https://[::ffff:127.0.0.1]/",
        "http://hooks.example:{port}/",
        "https://hooks.example@127.0.0.1:{port}/",
        "https://hooks.example/",
    ],
)
async def test_nothing_reaches_this_machine_without_the_opt_in(url: str) -> None:
    async with ScriptedReceiver() as receiver, sending() as sender:
        answer = await sender.send(url.format(port=receiver.port), HEADERS, BODY, private=False)
    assert (answer.status, answer.refused_address) == (None, True)
    assert answer.error
    assert "127.0.0.1" not in answer.error
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "::ffff:127.0.0.1", "0.0.0.0", "::", "64:ff9b::7f00:1", "fe80::1%lo"]
)
async def test_the_opt_in_opens_neither_metadata_nor_other_forms_of_an_address(address: str) -> None:
    async with ScriptedReceiver() as receiver, sending(Names([*HERE, address])) as sender:
        answer = await post(sender, receiver)
    assert answer.refused_address
    assert receiver.connections == 0


async def test_a_name_is_asked_for_once_for_a_message_so_that_a_second_answer_changes_nothing() -> None:
    class Rebinding(Names):
        async def __call__(self, name: str) -> Sequence[str]:
            found = await super().__call__(name)
            self.addresses = ["169.254.169.254"]
            return found

    names = Rebinding()
    async with ScriptedReceiver() as receiver, sending(names) as sender:
        assert (await post(sender, receiver)).status == 200
        assert (names.asked, receiver.connections) == (1, 1)
        assert (await post(sender, receiver)).refused_address
    assert len(receiver.requests) == 1  # though the connection from before was still open


async def test_an_open_connection_is_left_when_the_name_leads_elsewhere() -> None:
    names = Names()
    async with (
        ScriptedReceiver() as first,
        ScriptedReceiver(host="127.0.0.2", port=first.port) as second,
        sending(names) as sender,
    ):
        await post(sender, first)
        names.addresses = ["127.0.0.2"]
        assert (await post(sender, first)).status == 200
    assert (len(first.requests), len(second.requests)) == (1, 1)


async def test_an_open_connection_serves_its_own_name_and_port_only() -> None:
    async with ScriptedReceiver() as receiver, sending() as sender:
        await post(sender, receiver)
        await sender.send(f"http://other.example:{receiver.port}/", HEADERS, BODY, private=True)
    assert receiver.connections == 2


async def test_a_connection_that_leads_elsewhere_than_was_judged_is_not_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ScriptedReceiver(host="127.0.0.2") as receiver, sending() as sender:
        loop = asyncio.get_running_loop()
        connect = loop.create_connection

        async def astray(factory: object, host: str, port: int, **options: object) -> object:
            return await connect(factory, "127.0.0.2", port, **options)  # type: ignore[call-overload]  # as it came

        monkeypatch.setattr(loop, "create_connection", astray)
        answer = await post(sender, receiver)
        assert (answer.status, answer.error) == (None, "connected to another address than was judged")
        assert receiver.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_not_followed(status: int) -> None:
    async with ScriptedReceiver() as inner, sending() as sender:
        there = f"http://127.0.0.1:{inner.port}/".encode()
        moved = b"HTTP/1.1 %d Moved\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % (status, there)
        async with ScriptedReceiver(moved) as receiver:
            assert (await post(sender, receiver)).status == status
    assert inner.connections == 0


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with ScriptedReceiver() as receiver, ScriptedReceiver() as proxy, sending() as sender:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert (await post(sender, receiver)).status == 200
    assert proxy.connections == 0


# What a receiver may answer.


async def test_a_cookie_is_not_brought_back() -> None:
    cookie = b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
    async with ScriptedReceiver(cookie) as receiver, sending() as sender:
        await post(sender, receiver)
        await post(sender, receiver)
    assert b"a=b" not in receiver.requests[1][0]


async def test_a_compressed_answer_is_not_unpacked() -> None:
    packed = b"\x1f\x8b\x08\x00" + bytes(20)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 24\r\n\r\n"
    async with ScriptedReceiver(head + packed) as receiver, sending() as sender:
        answer = await post(sender, receiver)
    assert answer.status == 200
    assert len(answer.response) == 24


async def test_what_a_receiver_says_cannot_move_a_terminals_cursor() -> None:
    said = "\x1b[2Jdone\r\u202eenod\x00 \u00e9 \xff".encode("utf-8", "surrogatepass") + b"\xff"
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(said)
    async with ScriptedReceiver(head + said) as receiver, sending() as sender:
        answer = await post(sender, receiver)
    assert answer.response == "\ufffd[2Jdone\ufffd\ufffdenod\ufffd \u00e9 \xff\ufffd"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"120", 120.0),
        (b"Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        (b"Thu, 01 Jan 2026 00:00:00 GMT", 0.0),
        (b"999999999", 86_400.0),
        (b"soon", None),
        (b"-5", None),
    ],
)
async def test_a_receiver_can_ask_for_time(header: bytes, seconds: float | None) -> None:
    busy = b"HTTP/1.1 429 Busy\r\nretry-after: " + header + b"\r\ncontent-length: 0\r\n\r\n"
    async with ScriptedReceiver(busy) as receiver, sending() as sender:
        answer = await post(sender, receiver)
    assert (answer.status, answer.retry_after_s) == (429, seconds)


@pytest.mark.parametrize(
    ("answer", "confirmation"),
    [
        (b"HTTP/1.1 200 OK\r\nWebhook-Confirmation: token\r\ncontent-length: 5\r\n\r\nother", "token"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n token\n", "token"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 300\r\n\r\n" + b"t" * 300, None),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ntoken", None),  # it never came to its end
    ],
    ids=["header", "body", "nothing", "long_body", "half_a_body"],
)
async def test_a_confirmation_is_a_header_or_a_short_body(answer: bytes, confirmation: str | None) -> None:
    async with ScriptedReceiver(answer) as receiver, sending(limits=Limits(body_seconds=1.0)) as sender:
        assert (await post(sender, receiver, want="Webhook-Confirmation")).confirmation == confirmation
        assert (await post(sender, receiver)).confirmation is None  # nobody asked


# Receivers that do not come to an end.


async def _endless_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def _endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"set-cookie: a=b\r\n" * 1000)
        await writer.drain()


async def _endless_interim_answers(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)
        await writer.drain()


async def _endless_chunk_extension(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;a=")
    while True:
        writer.write(b"a" * 65_536)
        await writer.drain()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (_endless_body, 200),
        (_endless_chunk_extension, 200),
        (_endless_headers, None),
        (_endless_interim_answers, None),
    ],
)
async def test_an_endless_answer_is_left_long_before_the_time_is_over(
    answer: object, status: int | None
) -> None:
    limits = Limits(seconds=120, body_seconds=120)
    async with ScriptedReceiver(answer) as receiver, sending(limits=limits) as sender:  # type: ignore[arg-type]  # one of the above
        result = await post(sender, receiver)
        async with asyncio.timeout(60):
            await receiver.let_go.wait()
    assert result.status == status
    assert (result.error == "the answer's headers are too long") is (status is None)
    assert result.latency_ms < 60_000
    assert len(result.response) <= 4_096


async def _slowly(writer: asyncio.StreamWriter, data: bytes) -> None:
    for byte in data:
        writer.write(bytes((byte,)))
        await writer.drain()
        await asyncio.sleep(0.02)


async def test_an_answer_that_trickles_in_is_left_at_its_time() -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        await _slowly(writer, b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000)

    async with ScriptedReceiver(trickle) as receiver, sending(limits=SHORT) as sender:
        result = await post(sender, receiver)
    assert (result.status, result.error) == (None, "no answer in time")
    # To its end it would take two minutes.
    assert 1_000 * SHORT.seconds - 1 <= result.latency_ms < 60_000


async def test_a_body_that_trickles_in_holds_nobody_and_the_status_stands() -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await _slowly(writer, b"x" * 10_000)

    limits = Limits(seconds=120, body_seconds=0.1)
    async with ScriptedReceiver(trickle) as receiver, sending(limits=limits) as sender:
        result = await post(sender, receiver)
    assert (result.status, result.error) == (200, "")
    assert result.latency_ms < 60_000
    assert 0 < len(result.response) < 4_096


async def test_a_receiver_that_says_nothing_is_left_and_its_late_answer_is_nobodys() -> None:
    async with ScriptedReceiver(None) as receiver, sending(limits=SHORT) as sender:
        result = await post(sender, receiver)
        receiver.answer = OK
        assert (result.status, result.error) == (None, "no answer in time")
        assert (await post(sender, receiver)).status == 200
    assert (receiver.connections, len(receiver.requests)) == (2, 2)


async def test_a_receiver_that_reads_nothing_is_left_with_a_large_message() -> None:
    asked = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket's transport
        await asked.wait()
        writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    async with server, sending(limits=SHORT) as sender:
        result = await sender.send(f"http://hooks.example:{port}/", HEADERS, bytes(20_000_000), private=True)
        asked.set()
    assert (result.status, result.error) == (None, "no answer in time")


async def test_whoever_is_cancelled_leaves_no_answer_for_another() -> None:
    async with ScriptedReceiver(None) as receiver, sending() as sender:
        waiting = asyncio.create_task(post(sender, receiver))
        await receiver.asked()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with asyncio.timeout(60):
            await receiver.let_go.wait()
        receiver.answer = OK
        assert (await post(sender, receiver)).status == 200
    assert receiver.connections == 2


async def test_a_slow_receiver_delays_no_other() -> None:
    limits = Limits(seconds=600)
    async with ScriptedReceiver(None) as slow, ScriptedReceiver() as quick, sending(limits=limits) as sender:
        waiting = [asyncio.create_task(post(sender, slow)) for _ in range(50)]
        await slow.asked(50)
        assert (await post(sender, quick)).status == 200
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


# Connections that end.


async def test_a_connection_that_ended_while_it_waited_costs_no_attempt() -> None:
    async with ScriptedReceiver() as receiver, sending() as sender:
        await post(sender, receiver)
        receiver.end_connections()
        assert (await post(sender, receiver)).status == 200
    assert (receiver.connections, len(receiver.requests)) == (2, 2)


async def test_a_connection_that_ends_on_the_second_message_costs_no_attempt() -> None:
    """As a server does whose patience ended at that very moment: the message may be sent twice, with one id."""
    async with ScriptedReceiver() as receiver, sending() as sender:
        await post(sender, receiver)

        async def end(writer: asyncio.StreamWriter) -> None:
            receiver.answer = OK
            writer.transport.abort()

        receiver.answer = end
        assert (await post(sender, receiver)).status == 200
    assert (receiver.connections, len(receiver.requests)) == (2, 3)


async def test_a_receiver_that_ends_every_connection_is_asked_once_a_message() -> None:
    async def end(writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with ScriptedReceiver(end) as receiver, sending() as sender:
        answer = await post(sender, receiver)
    assert (answer.status, answer.error) == (None, "the connection ended before an answer")
    assert len(receiver.requests) == 1


async def test_what_comes_unasked_is_not_taken_for_the_next_answer() -> None:
    async with ScriptedReceiver(OK + b"HTTP/1.1 204 Forged\r\n\r\n") as receiver, sending() as sender:
        await post(sender, receiver)
        receiver.answer = OK
        assert (await post(sender, receiver)).status == 200
    assert receiver.connections == 2


async def test_what_comes_later_and_unasked_ends_the_connection() -> None:
    taken = asyncio.Event()

    async def say_more(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await taken.wait()
        writer.write(b"HTTP/1.1 204 Forged\r\n\r\n")

    async with ScriptedReceiver(say_more) as receiver, sending() as sender:
        await post(sender, receiver)
        taken.set()
        async with asyncio.timeout(60):
            await receiver.let_go.wait()
        receiver.answer = OK
        assert (await post(sender, receiver)).status == 200
    assert receiver.connections == 2


async def test_few_connections_wait_and_those_used_last() -> None:
    limits = Limits(idle_connections=2)
    async with ScriptedReceiver() as receiver, sending(limits=limits) as sender:
        for name in ("a", "b", "c", "b", "c", "a"):
            await sender.send(f"http://{name}.example:{receiver.port}/", HEADERS, BODY, private=True)
    assert receiver.connections == 4  # a's had to go when c's came


async def test_no_connection_is_used_for_ever() -> None:
    async with ScriptedReceiver() as receiver, sending(limits=Limits(connection_seconds=-1)) as sender:
        for _ in range(3):
            assert (await post(sender, receiver)).status == 200
    assert receiver.connections == 3


async def test_a_receiver_that_answers_before_it_has_read_does_not_get_the_rest_as_its_next_request() -> None:
    ended = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket's transport
        writer.write(OK)
        await writer.drain()
        await ended.wait()
        writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=65_536)
    port = server.sockets[0].getsockname()[1]
    async with server, sending() as sender:
        url = f"http://hooks.example:{port}/"
        for _ in range(2):
            answer = await sender.send(url, HEADERS, bytes(20_000_000), private=True)
            assert (answer.status, answer.error) == (200, "")
        ended.set()


async def test_a_connection_that_waits_is_ended_at_its_time() -> None:
    async def never(writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with ScriptedReceiver(never) as receiver, sending(limits=Limits(idle_seconds=0.05)) as sender:
        await post(sender, receiver)
        async with asyncio.timeout(60):
            await receiver.let_go.wait()


async def test_nobody_listens() -> None:
    async with ScriptedReceiver() as receiver:
        pass
    async with sending() as sender:
        answer = await post(sender, receiver)
    assert (answer.status, answer.error, answer.refused_address) == (None, "connection refused", False)


async def test_a_name_server_that_says_nothing_is_within_the_time_for_all() -> None:
    class Silent(Names):
        async def __call__(self, name: str) -> Sequence[str]:
            await asyncio.Event().wait()
            return []

    async with sending(Silent(), limits=Limits(seconds=0.1)) as sender:
        answer = await sender.send("https://hooks.example/", HEADERS, BODY, private=False)
    assert (answer.status, answer.error, answer.refused_address) == (None, "no answer in time", False)
    assert answer.latency_ms < 4_000


async def test_a_name_without_an_address_is_no_refusal() -> None:
    async with ScriptedReceiver() as receiver, sending(Names([])) as sender:
        answer = await post(sender, receiver)
    assert (answer.status, answer.refused_address) == (None, False)
    assert answer.error == "the URL's host has no address that could be found"


async def test_the_second_address_is_tried_when_the_first_takes_no_connection() -> None:
    names = Names(["127.0.0.1", "127.0.0.2"])
    async with ScriptedReceiver(host="127.0.0.2") as receiver, sending(names) as sender:
        assert (await post(sender, receiver)).status == 200

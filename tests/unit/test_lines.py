"""The way to a client over plain ASGI: everything in order, back-pressure told, an end in every case."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.lines import HIGH_WATER_BYTES, Chunk, Line, PlainLine

pytestmark = pytest.mark.anyio


class Holding:
    """Writes down what the line tells."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def paused(self) -> None:
        self.told.append("paused")

    def resumed(self) -> None:
        self.told.append("resumed")

    def gone(self) -> None:
        self.told.append("gone")


class Client:
    """A server's two ends, as an application sees them."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, bool]] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.hangs_up = asyncio.Event()

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        self.got.append((message["body"], message["more_body"]))

    async def receive(self) -> Any:
        await self.hangs_up.wait()
        return {"type": "http.disconnect"}


def test_a_chunk_is_framed_as_http_wants_it() -> None:
    assert Chunk(b"event: put\n\n").framed == b"c\r\nevent: put\n\n\r\n"


async def test_what_is_written_is_sent_in_order_and_ended() -> None:
    client, holding = Client(), Holding()

    def start(line: Line) -> None:
        line.write(Chunk(b"one"))
        line.write(Chunk(b"two"))
        line.end()

    await PlainLine(holding, client.send).run(start, client.receive)
    assert client.got == [(b"one", True), (b"two", True), (b"", False)]
    assert holding.told == ["gone"]


async def test_a_client_that_does_not_read_is_told_of_and_again_when_it_has_read() -> None:
    client, holding = Client(), Holding()
    client.reads.clear()
    line = PlainLine(holding, client.send)
    running = asyncio.ensure_future(line.run(lambda started: started.write(Chunk(b"first")), client.receive))
    await asyncio.sleep(0)
    line.write(Chunk(b"x" * HIGH_WATER_BYTES))
    line.write(Chunk(b"more"))
    assert holding.told == ["paused"]
    client.reads.set()
    line.end()
    await running
    assert [body for body, _ in client.got] == [b"first", b"x" * HIGH_WATER_BYTES, b"more", b""]
    assert holding.told == ["paused", "resumed", "gone"]


async def test_a_client_that_hangs_up_is_sent_nothing_more() -> None:
    client, holding = Client(), Holding()
    client.hangs_up.set()
    await PlainLine(holding, client.send).run(lambda line: None, client.receive)
    assert holding.told == ["gone"] and not client.got


async def test_a_reset_leaves_the_answer_without_its_end() -> None:
    client, holding = Client(), Holding()
    client.reads.clear()

    def start(line: Line) -> None:
        line.write(Chunk(b"one"))
        line.reset()

    await PlainLine(holding, client.send).run(start, client.receive)
    assert holding.told == ["gone"] and not client.got


async def test_a_fault_while_sending_is_not_swallowed() -> None:
    client, holding = Client(), Holding()

    async def send(message: Any) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await PlainLine(holding, send).run(lambda line: line.write(Chunk(b"one")), client.receive)
    assert holding.told == ["gone"]

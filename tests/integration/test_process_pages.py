"""The pages that tell operators of a process, also when its event loop stands still; and a collector that is away."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import httpx
import pytest
from integration.gateway_fixtures import RedisServer, gateway_process
from prometheus_client import CollectorRegistry

from cli.stack.ports import free_port
from schemas.errors import InvalidInput
from schemas.process.facts import tell_of_process
from schemas.process.pages import serve_pages
from schemas.process.pulse import Pulse


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pulse(clock: Clock) -> Pulse:
    return Pulse(clock)


@pytest.fixture
def pages(pulse: Pulse) -> Iterator[str]:
    registry = CollectorRegistry()
    tell_of_process(registry)
    server = serve_pages(free_port(), registry, pulse)
    assert isinstance(server, ThreadingHTTPServer)
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_process_is_restarted_when_its_event_loop_stands_still_and_not_while_it_starts(
    pages: str, pulse: Pulse, clock: Clock
) -> None:
    assert httpx.get(f"{pages}/healthz").status_code == 200, "it has not begun yet"
    pulse.beat()
    clock.now += 20
    assert httpx.get(f"{pages}/healthz").status_code == 200
    clock.now += 20
    stands = httpx.get(f"{pages}/healthz")
    assert (stands.status_code, stands.json()["status"]) == (503, "the event loop stands still")
    assert httpx.get(f"{pages}/metrics").status_code == 200, "what it has counted is still told"
    pulse.beat()
    assert httpx.get(f"{pages}/healthz").status_code == 200


@pytest.mark.anyio
async def test_pulse_beats_for_as_long_as_the_event_loop_turns(pulse: Pulse, clock: Clock) -> None:
    pulse.beat_on(asyncio.get_running_loop())
    clock.now += 60
    assert pulse.still
    deadline = time.monotonic() + 60
    while pulse.still:
        assert time.monotonic() < deadline, "it does not beat"
        await asyncio.sleep(0.02)


def test_other_paths_are_not_found_and_a_caller_that_says_nothing_holds_nobody_up(pages: str) -> None:
    assert httpx.get(f"{pages}/metrics/../etc").status_code == 404
    host, _, port = pages.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))):
        assert httpx.get(f"{pages}/metrics?name[]=scores_build_info", timeout=30).status_code == 200


def test_port_that_another_has_is_named_with_what_to_do() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"metrics port {port} .* set another, or 0"):
            serve_pages(port, CollectorRegistry(), Pulse())


def test_port_zero_is_nowhere() -> None:
    assert serve_pages(0, CollectorRegistry(), Pulse()) is None


def test_collector_that_hangs_holds_up_neither_an_answer_nor_the_end(redis: RedisServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never says a word
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with gateway_process(
            redis.url, ready=False, SCORES_OTLP_ENDPOINT=endpoint, SCORES_DRAIN_SECONDS="0"
        ) as gateway:
            answer = httpx.post(f"{gateway.url}/v1/exams/imports", content=b"<TDSReport/>", timeout=30)
            assert answer.status_code == 401
            silent.settimeout(60)
            connection, _ = silent.accept()  # the span of that request is on its way
            began = time.monotonic()
            status, log = gateway.stop()
            connection.close()
    assert status == 0, log
    assert time.monotonic() - began < 8, log

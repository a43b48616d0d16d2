"""The push benchmark at its smallest: what it counts is what was sent."""

from __future__ import annotations

import pytest

from bench.push_broadcast import broadcast
from bench.push_peers import PEERS


@pytest.mark.parametrize("name", ["ours", "starlette"])
def test_every_reader_of_the_benchmark_is_found_to_have_every_event(name: str) -> None:
    [peer] = [peer for peer in PEERS if peer.name == name]
    # So slow that nothing is merged, however busy the machine.
    run = broadcast(peer, 20, messages_a_second=10, seconds=6, size=400)
    assert run.complete and run.newest == 20
    assert (run.made, run.delivered) == (3, 60)

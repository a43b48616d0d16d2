"""What a gateway process takes and has counted, seen from outside."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx
from fake_worker import FakeWorker, scored
from integration.gateway_fixtures import DISTRICT, SCHOOL, GatewayProcess, stream
from promptness import assert_within


def counted(gateway: GatewayProcess, name: str) -> float:
    """The value of a metric, named with its labels; 0 while there is none."""
    text = httpx.get(f"{gateway.url}/metrics", trust_env=False, timeout=30).text
    found = re.search(f"^{re.escape(name)} (.+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def resident_bytes(gateway: GatewayProcess) -> int:
    """Memory of the process; Linux only."""
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def descriptors(gateway: GatewayProcess) -> int:
    """Open files and sockets of the process; Linux only."""
    assert gateway.process is not None
    return sum(1 for _ in Path(f"/proc/{gateway.process.pid}/fd").iterdir())


def assert_serves(gateway: GatewayProcess, worker: FakeWorker, *, seconds: float = 3.0) -> None:
    """A newcomer gets everything and the next change, soon."""

    def newcomer() -> float:
        began = time.monotonic()
        with gateway.client(DISTRICT) as client, stream(client, f"school/{SCHOOL}") as reader:
            reader.until("put")
            worker.apply(SCHOOL, [scored(2460, 3)])
            reader.until("patch")
        return time.monotonic() - began

    assert_within(seconds, newcomer)

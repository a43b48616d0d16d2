"""A publisher and a gateway with the public view, and what the public sees there."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from fake_worker import scored
from integration.gateway_fixtures import GatewayProcess, gateway_process
from stack import process_environment

from cli.stack.child import Child
from cli.stack.redis_server import EmbeddedRedis
from schemas.aggregates import Contribution

ELA: Final = "2026:ELA-SUM:03"


def students(number: int, first: int = 2400) -> list[Contribution]:
    """So many students with scores, on levels 2 and 3 by turns."""
    return [scored(first + one, 2 + one % 2) for one in range(number)]


@contextmanager
def publisher(
    server: EmbeddedRedis, folder: Path, *program: str, settings: Mapping[str, str] | None = None
) -> Iterator[Child]:
    """A publisher in a process of its own that publishes every second, killed in the end."""
    usual = {"SCORES_PUBLISH_SECONDS": "1", "SCORES_UNLISTED_RELEASE_STATE": "released"}
    number = len(list(folder.glob("publisher-*.log")))
    child = Child(
        "publisher",
        [sys.executable, *(program or ("-m", "gateway.publisher"))],
        cwd=folder,
        log=folder / f"publisher-{number}.log",
        env=process_environment("127.0.0.1:9", server.url, **{**usual, **(settings or {})}),
    )
    try:
        yield child
    finally:
        child.stop(0.0)


@contextmanager
def public_gateway(server: EmbeddedRedis, **more: str) -> Iterator[GatewayProcess]:
    more = {"SCORES_PUBLIC_VIEW": "on", "SCORES_PUBLISH_SECONDS": "1", **more}
    with gateway_process(server.url, ready=True, **more) as running:
        yield running


def published(client: httpx.Client, organization: str) -> Mapping[str, Any]:
    """An organization's public cells, by name."""
    answer = client.get(f"/public/v1/aggregates/{organization}")
    answer.raise_for_status()
    [one] = answer.json()["organizations"]
    assert one["id"] == organization
    return {f"{cell['school_year']}:{cell['test']}:{cell['grade']}": cell for cell in one["cells"]}


def count(client: httpx.Client, organization: str) -> int | str | None:
    """Its students with scores, a star when suppressed, None when nothing is published."""
    cell = published(client, organization).get(ELA)
    if cell is None:
        return None
    return "*" if cell.get("suppressed") else int(cell["with_scores"])

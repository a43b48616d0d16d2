"""What runs, beside what the judgement tells: the local stack, the workers, and a gateway that is asked itself."""

from __future__ import annotations

from typing import Final

import httpx
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from schemas.operations import Judgement

_SECONDS: Final = 3.0


class AskedGateway(Struct, frozen=True, kw_only=True):
    """What one gateway says of itself.

    Attributes:
        reasons: why it takes no new work.
        connections: its open streams; null: it did not say.
    """

    url: str
    ready: bool
    reasons: tuple[str, ...] = ()
    connections: int | None = None


class Running(Struct, frozen=True, kw_only=True):
    """What is known to run.

    Attributes:
        stack: the process id of the local stack of this folder; null: none runs.
        workers: who owns partitions of the results, as far as partitions are told.
        gateway: null when no address is known; others tell of themselves among the parts.
    """

    stack: int | None
    workers: tuple[str, ...]
    gateway: AskedGateway | None


def ask_gateway(url: str, transport: httpx.BaseTransport | None = None) -> AskedGateway:
    """Ask whether it takes new work, and for its open streams; one that does not answer takes none."""
    try:
        with httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False, transport=transport) as client:
            ready = client.get("/readyz")
            reasons = ready.json()["reasons"]
            return AskedGateway(
                url=url,
                ready=ready.is_success,
                reasons=tuple(str(reason) for reason in reasons),
                connections=_connections(client.get("/metrics").text),
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return AskedGateway(url=url, ready=False, reasons=(f"it does not answer: {error}",))
    except (ValueError, LookupError, TypeError):
        return AskedGateway(url=url, ready=False, reasons=("what answers there is no gateway",))


def workers_of(judgement: Judgement) -> tuple[str, ...]:
    """Who owns partitions of the results."""
    told = (one.owner for group in judgement.groups if group.group == "streams" for one in group.partitions)
    return tuple(sorted({owner for owner in told if owner}))


def _connections(metrics: str) -> int | None:
    for family in text_string_to_metric_families(metrics):
        if family.name == "scores_sse_connections":
            return int(sum(sample.value for sample in family.samples))
    return None

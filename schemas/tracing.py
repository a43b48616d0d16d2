"""Traces as far as processes agree on them: whether they are made, how a record carries one, and ids that need no carrying.

Redis carries no trace: a change notice is read by every gateway, and made for every batch. So the span of a batch has ids that
follow from what is in Redis anyway, the partition and its next offset, and whoever reads those knows which span to link to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.environment import Environment

TRACEPARENT: Final = (
    "traceparent"  # the header, of Kafka records and of webhooks: https://www.w3.org/TR/trace-context/
)

# Links of one span. A batch of 5,000 records comes of hundreds of imports, and nobody follows hundreds of links.
LINKS_AT_MOST: Final = 32

_FORM: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_URL: Final = re.compile(r"https?://[^\s?#@]+")


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """Where traces go, and of how many imports, pushes and webhooks they are made."""

    endpoint: str = ""  # of an OTLP collector, for HTTP, without /v1/traces; empty: there are no traces
    percent: int = 100

    @property
    def on(self) -> bool:
        """Whether there are traces."""
        return bool(self.endpoint)

    @classmethod
    def read(cls, env: Environment) -> TracingSettings:
        """As the environment has it; the caller checks ``env``."""
        endpoint = env.text("SCORES_OTLP_ENDPOINT", "-")
        if endpoint == "-":
            endpoint = ""
        elif not _URL.fullmatch(endpoint):
            # Not the value: a password in it would be printed with it.
            env.refuse(
                "SCORES_OTLP_ENDPOINT is no address of a collector; expected http://host:4318, without user and password"
            )
        return cls(endpoint.rstrip("/"), env.integer("SCORES_TRACED_PERCENT", 100, low=0, high=100))


class TraceContext(NamedTuple):
    """Names one span."""

    trace_id: int
    span_id: int
    sampled: bool = True


def parse_traceparent(header: str | bytes) -> TraceContext | None:
    """What a ``traceparent`` says; None when it says nothing. Anybody may have written it."""
    try:
        text = header if isinstance(header, str) else header.decode("ascii")
    except UnicodeDecodeError:
        return None
    # Later versions may go on after the flags; the first one may not.
    begin, rest = text[:55], text[55:]
    found = _FORM.fullmatch(begin)
    if found is None or (rest and (begin.startswith("00") or rest[0] != "-")):
        return None
    trace_id, span_id, flags = found.groups()
    return TraceContext(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))


def format_traceparent(context: TraceContext) -> str:
    """The header that names this span."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.sampled:02x}"


def traces_of(records: Iterable[Iterable[tuple[str, bytes]]]) -> tuple[TraceContext, ...]:
    """The recorded traces that records name in their headers: each once, and no more than may be linked to."""
    found: dict[TraceContext, None] = {}
    for headers in records:
        for name, value in headers:
            if name == TRACEPARENT and (context := parse_traceparent(value)) is not None and context.sampled:
                found[context] = None
        if len(found) >= LINKS_AT_MOST:
            break
    return tuple(found)[:LINKS_AT_MOST]


def batch_context(partition: int, next_offset: int) -> TraceContext:
    """The span of the batch after which a partition's next offset is this one."""
    return _derived(f"batch {partition} {next_offset}")


def webhook_trace(message_id: str) -> int:
    """The trace of all attempts to deliver a message."""
    return _derived(f"webhook {message_id}").trace_id


def newest_batches(before: Mapping[int, int], now: Mapping[int, int]) -> tuple[TraceContext, ...]:
    """The last batch of each partition that moved, given next offsets by partition."""
    moved = (number for number, offset in now.items() if before.get(number) != offset)
    return tuple(batch_context(number, now[number]) for number in sorted(moved)[:LINKS_AT_MOST])


def _derived(what: str) -> TraceContext:
    digest = hashlib.sha256(what.encode()).digest()
    return TraceContext(int.from_bytes(digest[:16]), int.from_bytes(digest[16:24]))

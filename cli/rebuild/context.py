"""What one run of a rebuild has at hand, and what it comes to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from cli.rebuild.comparing import Findings
from cli.rebuild.planning import Plan, Wishes
from cli.rebuild.progress import Display
from schemas.rejections import Reason
from streams.accidents import Accidents
from streams.connection import RedisClient
from streams.fetching import Fetcher
from streams.log import Log
from streams.rebuild_state import RebuildState


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the log and the tables are, and the workers' secret."""

    kafka: str
    redis_url: str
    cluster: bool
    secret: bytes


@dataclass(frozen=True, slots=True)
class Orders:
    """What the operator wants of this run."""

    wishes: Wishes
    resume: bool = False  # only what was begun
    flip_anyway: bool = False


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    plan: Plan
    partitions: int
    findings: Findings = field(default_factory=Findings)
    flipped: bool = False
    taken_over: int = 0  # partitions that workers have claimed
    events: int = 0
    seconds: float = 0.0
    removed_keys: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    newly_rejected: int = 0
    newly_taken: int = 0


@dataclass(frozen=True, slots=True)
class Context:
    """One run."""

    addresses: Addresses
    orders: Orders
    display: Display
    holder: str  # this process, and no other one
    redis: RedisClient
    state: RebuildState
    log: Log
    fetcher: Fetcher
    accidents: Accidents
    plan: Plan
    outcome: Outcome

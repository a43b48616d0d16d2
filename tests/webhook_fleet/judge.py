"""Holds what the receivers got against what the streams made and what the worker says it did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from schemas.webhooks.messages import Message, MessageState
from tests.webhook_fleet.conduct import Conduct
from tests.webhook_fleet.fleet import Member
from tests.webhook_fleet.made import CellAddress, Made
from tests.webhook_fleet.receipts import Receipt

# What a worker had in hand when it was frozen, or when Redis lost its tail, may come that much later.
_ON_ITS_WAY_SECONDS: Final = 10.0


class Lateness(NamedTuple):
    """How long after the end of its interval a change came to an endpoint that is well."""

    made: float  # when the change was
    seconds: float


class Lacking(NamedTuple):
    """What an endpoint does not have."""

    endpoint: str
    conduct: Conduct
    organization: str
    cell: str
    has: int
    due: int

    def __str__(self) -> str:
        return (
            f"{self.endpoint} ({self.conduct.value}) has version {self.has} of {self.organization} {self.cell}, "
            f"and {self.due} is the latest"
        )


@dataclass(slots=True)
class _Told:
    """What one endpoint knows."""

    member: Member
    accepted: dict[CellAddress, int] = field(default_factory=dict)  # the highest version
    seen: dict[CellAddress, int] = field(default_factory=dict)  # of the latest message, answered well or not
    messages: dict[str, bytes] = field(default_factory=dict)  # the digest of each body
    ids: dict[bytes, str] = field(default_factory=dict)  # and the other way round
    delivered: set[str] = field(default_factory=set)  # answered with 2xx
    confirmed: bool = False


class Judge:
    """One thread feeds it receipts in the order of their coming, and asks."""

    def __init__(self, members: Iterable[Member], made: Made) -> None:
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.lateness: list[Lateness] = []
        self.disturbed: list[float] = []  # when Redis lost its tail, or a frozen worker went on
        self._made = made
        self._told = {member.id: _Told(member) for member in members}

    def take(self, receipt: Receipt) -> None:
        """Judge one request."""
        told = self._told[receipt.endpoint]
        self.counts["requests"] += 1
        if receipt.fault:
            self._wrong(receipt, receipt.fault)
            return
        known = told.messages.setdefault(receipt.message, receipt.digest)
        if known != receipt.digest:
            self._wrong(receipt, "the same id with other bytes")
            return
        if told.ids.setdefault(receipt.digest, receipt.message) != receipt.message:
            self._wrong(receipt, "the same bytes with another id")
            return
        if receipt.accepted:
            if receipt.message in told.delivered:
                self.counts["delivered again, with the same id and bytes"] += 1
            told.delivered.add(receipt.message)
        if receipt.type == "endpoint.ping":
            told.confirmed |= receipt.accepted
        elif receipt.type != "aggregate.updated":
            self._wrong(receipt, f"it did not ask for {receipt.type}")
        else:
            self._take_cells(receipt, told)

    @property
    def unconfirmed(self) -> int:
        """How many have not been asked yet whether they want webhooks, or did not hear it."""
        return sum(not told.confirmed for told in self._told.values())

    def lacking(self, *, dead: Iterable[str]) -> list[Lacking]:
        """What endpoints do not have that follow it, but for these dead ones."""
        latest = self._made.latest()
        left_out = frozenset(dead)
        return [
            Lacking(told.member.id, told.member.conduct, *address, has, due)
            for told in self._told.values()
            if told.member.id not in left_out
            for address, due in latest.items()
            if told.member.wants(*address) and (has := told.accepted.get(address, 0)) < due
        ]

    @property
    def followed(self) -> int:
        """How many cells of how many endpoints that is."""
        latest = self._made.latest()
        return sum(told.member.wants(*address) for told in self._told.values() for address in latest)

    def hold_against(self, kept: Iterable[Message]) -> None:
        """Compare with the messages that the worker keeps: none lost, and none that was changed after it was sent."""
        for message in kept:
            self.counts[f"messages kept as {message.state.value}"] += 1
            told = self._told.get(message.endpoint)
            if told is None:
                self.wrong.append(f"{message.id} is for {message.endpoint}, which there is not")
            elif message.state is MessageState.DELIVERED and message.id not in told.delivered:
                self.wrong.append(
                    f"{message.id} is said to be delivered to {message.endpoint}, and it is not"
                )

    def lateness_between(self, begin: float, end: float) -> list[float]:
        """Seconds, ascending, of changes that were made in that time and have come by now."""
        return sorted(late.seconds for late in self.lateness if begin <= late.made < end)

    def _take_cells(self, receipt: Receipt, told: _Told) -> None:
        late: Lateness | None = None
        for cell, version, results in receipt.cells:
            address = receipt.organization, cell
            if not told.member.wants(*address):
                self._wrong(receipt, f"it does not follow {address}")
                continue
            moments = self._made.moments(*address)
            if not 0 < version <= len(moments):
                self._wrong(receipt, f"version {version} of {address}, of which there are {len(moments)}")
                continue
            if results is not None and results != version:  # each version has one result more
                self._wrong(receipt, f"{results} results in version {version} of {address}")
            if (results is None) == told.member.full:
                self._wrong(receipt, "a full payload for who wants a thin one, or the other way round")
            self._in_order(receipt, told, address, version)
            had = told.accepted.get(address, 0)
            if receipt.accepted and version > had:
                told.accepted[address] = version
                waited = receipt.at - moments[had] - told.member.interval_seconds
                if late is None or waited > late.seconds:
                    late = Lateness(moments[had], max(0.0, waited))
        if late is not None and told.member.conduct is Conduct.LIVE:
            self.lateness.append(late)

    def _in_order(self, receipt: Receipt, told: _Told, address: CellAddress, version: int) -> None:
        before = told.seen.get(address, 0)
        if version < before:
            if any(moment <= receipt.at < moment + _ON_ITS_WAY_SECONDS for moment in self.disturbed):
                self.counts["versions back after a roll-back or a frozen worker"] += 1
            else:
                self._wrong(receipt, f"{address} went back from version {before} to {version}")
        told.seen[address] = max(before, version)

    def _wrong(self, receipt: Receipt, what: str) -> None:
        self.wrong.append(f"{receipt.endpoint}, {receipt.message} at {receipt.at:.3f}: {what}")


def percentile(ascending: list[float], share: float) -> float:
    """The value that so large a share is at or below; 0 of none."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))] if ascending else 0.0


def shown(lacking: Iterable[Lacking]) -> Iterator[str]:
    """One line for each endpoint: the first thing that it lacks."""
    first: Mapping[str, list[Lacking]] = defaultdict(list)
    for one in lacking:
        first[one.endpoint].append(one)
    for several in first.values():
        yield f"{several[0]}" + (f" (and {len(several) - 1} more)" if len(several) > 1 else "")

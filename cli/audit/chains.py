"""Checks chains of audit entries; pure. Entries may come in any order, and more than once.

What a chain shows by itself: an entry changed, removed, inserted or moved, and a beginning that is missing. That its end is
missing shows where somebody else wrote down how far it was: a later chain of the same folder, another gateway as a witness,
Redis, an earlier check, or the spool.

What nothing here can show: entries rewritten from some point on, hashes and all, together with every place that had a
newer head. That takes whoever writes Kafka, Redis and all spools, and leaves no copy elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from schemas.audit import NO_HASH, AuditEntry, AuditKind, Broken, Head, follows, read_entry

_MOST_WAITING: Final = 100_000  # entries of one chain that came before the one they follow


class Fault(StrEnum):
    """What is wrong with a chain."""

    CHANGED = "changed"  # the bytes are not those that were hashed
    MISSING = "missing"  # numbers that are not there
    FORKED = "forked"  # two different entries of one number
    CUT = "cut off"  # it was longer once
    UNKNOWN = "unknown chain"  # others name it, and nothing of it is there
    UNREADABLE = "unreadable"  # a record that is no entry


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault, and where it is."""

    chain: str
    fault: Fault
    number: int
    said: str


@dataclass(slots=True)
class Chain:
    """One chain as far as it was read."""

    name: str
    hashes: list[bytes] = field(default_factory=list)  # of entries 1, 2, ...; empty where one is missing
    first_ms: int = 0
    last_ms: int = 0
    ended: bool = False
    waiting: dict[int, bytes] = field(default_factory=dict)

    @property
    def entries(self) -> int:
        """How many numbers it has come to."""
        return len(self.hashes)

    @property
    def head(self) -> Head:
        """Its newest entry."""
        return Head(self.name, len(self.hashes), self.hashes[-1].hex() if self.hashes else NO_HASH)


class Checker:
    """Takes in the entries of all chains, and says what is wrong."""

    def __init__(self, *, beginnings: bool = True) -> None:
        """Without ``beginnings``, a chain may begin anywhere: a spool keeps only the newest of its entries."""
        self._beginnings = beginnings
        self.chains: dict[str, Chain] = {}
        self.findings: list[Finding] = []
        self._told: dict[str, dict[tuple[int, str], str]] = {}  # chain -> number and hash -> who says so
        self._continued: set[str] = set()

    def add(self, line: bytes, where: str) -> AuditEntry | None:
        """Take in one entry, as its bytes; ``where`` names the place. Returns it when it can be read."""
        try:
            entry = read_entry(line)
        except Broken as error:
            self.findings.append(Finding("", Fault.UNREADABLE, 0, f"{where}: {error}"))
            return None
        chain = self.chains.get(entry.chain)
        if chain is None:
            chain = self.chains[entry.chain] = Chain(entry.chain)
            if not self._beginnings:
                chain.hashes = [b""] * (entry.number - 1)
        if entry.number <= chain.entries:
            self._again(chain, entry, line, where)
        elif entry.number == chain.entries + 1:
            self._next(chain, entry, line, where)
            self._drain(chain)
        else:
            chain.waiting[entry.number] = line
            if len(chain.waiting) > _MOST_WAITING:
                self._skip(chain)
        return entry

    def tell(self, head: Head, who: str) -> None:
        """Somebody says that a chain was so long, and ended with that hash then."""
        if head.number:
            self._told.setdefault(head.chain, {}).setdefault((head.number, head.hash), who)

    def settle(self) -> None:
        """One place has been read to its end: what is not there now is missing there."""
        for chain in self.chains.values():
            while chain.waiting:
                self._skip(chain)

    def finish(self) -> list[Finding]:
        """Nothing more comes; everything that is wrong, in the order of chains and numbers."""
        self.settle()
        for name, told in self._told.items():
            self._compare(name, told)
        self.findings.sort(key=lambda finding: (finding.chain, finding.number))
        return self.findings

    def open_ends(self) -> Iterator[Chain]:
        """Chains that neither ended nor were continued: still written, or ended by kill -9 with nobody after them."""
        for name, chain in sorted(self.chains.items()):
            if not chain.ended and name not in self._continued:
                yield chain

    def _next(self, chain: Chain, entry: AuditEntry, line: bytes, where: str) -> None:
        previous = chain.hashes[-1].hex() if chain.hashes else NO_HASH
        # After entries that are missing there is nothing to compare the first with.
        if (not chain.hashes or chain.hashes[-1]) and not follows(line, entry, previous):
            self._found(
                chain,
                Fault.CHANGED,
                entry.number,
                f"{where}: it, or the one before it, is not what was written",
            )
        chain.hashes.append(bytes.fromhex(entry.hash))
        chain.first_ms = chain.first_ms or entry.at_ms
        chain.last_ms = max(chain.last_ms, entry.at_ms)
        if entry.event.kind is AuditKind.CHAIN_ENDED:
            chain.ended = True
        for head in entry.event.heads:
            self.tell(head, f"{entry.chain} entry {entry.number}")
            if entry.event.kind is AuditKind.CHAIN_STARTED:
                self._continued.add(head.chain)

    def _again(self, chain: Chain, entry: AuditEntry, line: bytes, where: str) -> None:
        """Shipping may repeat an entry; it is then the same, to the byte."""
        known = chain.hashes[entry.number - 1]
        before = chain.hashes[entry.number - 2].hex() if entry.number > 1 else NO_HASH
        if known and known.hex() != entry.hash:
            self._found(chain, Fault.FORKED, entry.number, f"{where}: there is another entry of this number")
        elif known and (entry.number == 1 or before) and not follows(line, entry, before):
            self._found(chain, Fault.CHANGED, entry.number, f"{where}: it is not what was written")

    def _drain(self, chain: Chain) -> None:
        while (line := chain.waiting.pop(chain.entries + 1, None)) is not None:
            self._next(chain, read_entry(line), line, "later")

    def _skip(self, chain: Chain) -> None:
        """Give up on the numbers before the first that waits."""
        first = min(chain.waiting)
        missing = chain.entries + 1
        said = f"entry {missing}" if first - 1 == missing else f"entries {missing} to {first - 1}"
        self._found(chain, Fault.MISSING, missing, f"{said} missing")
        chain.hashes += [b""] * (first - 1 - chain.entries)
        self._drain(chain)

    def _compare(self, name: str, told: dict[tuple[int, str], str]) -> None:
        chain = self.chains.get(name)
        (longest, _), who = max(told.items())
        if chain is None:
            said = f"{who} says it had {longest} entries; none is here"
            self.findings.append(Finding(name, Fault.UNKNOWN, longest, said))
            return
        if longest > chain.entries:
            said = f"{who} says it had {longest} entries; {chain.entries} are here"
            self._found(chain, Fault.CUT, chain.entries, said)
        for (number, digest), witness in told.items():
            known = chain.hashes[number - 1] if number <= chain.entries else b""
            if known and known.hex() != digest:
                self._found(chain, Fault.FORKED, number, f"{witness} saw another entry of this number")

    def _found(self, chain: Chain, fault: Fault, number: int, said: str) -> None:
        self.findings.append(Finding(chain.name, fault, number, said))


def check(lines: Iterable[bytes]) -> list[Finding]:
    """Everything that is wrong with these entries."""
    checker = Checker()
    for number, line in enumerate(lines, 1):
        checker.add(line, f"line {number}")
    return checker.finish()

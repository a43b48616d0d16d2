"""The audit's chain: whoever changes, removes, inserts or moves an entry is found out."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from cli.audit.chains import Checker, Fault, Finding, check
from schemas.audit import NO_HASH, AuditEvent, AuditKind, Broken, Head, entry_bytes, read_entry

CHAIN = "20260501T080000Z-node-one"
OTHER = "20260501T090000Z-node-two"
OPENED = AuditEvent(
    kind=AuditKind.STREAM_OPENED,
    subject="m.alvarez@district.test",
    token_id="t-1",
    issuer="https://issuer.test/",
    address="192.0.2.7",
    stream="node-one.s1",
    organizations=("district/19990010000000", "district/19990010000000/schools"),
    classes=("exact-loading", "masked"),
    tests=("ELA-SUM",),
    report="aggregate",
)
EVENTS = [
    AuditEvent(kind=AuditKind.CHAIN_STARTED),
    OPENED,
    AuditEvent(kind=AuditKind.REFUSED, address="192.0.2.9", outcome="401", rule="expired"),
    AuditEvent(kind=AuditKind.STREAM_CLOSED, stream="node-one.s1", outcome="max_age", seconds=600.25),
    AuditEvent(kind=AuditKind.CHAIN_ENDED),
]


def chain(events: list[AuditEvent] = EVENTS, name: str = CHAIN) -> list[bytes]:
    lines, digest = [], NO_HASH
    for number, event in enumerate(events, 1):
        line, digest = entry_bytes(name, number, 1_777_622_400_000 + number, event, digest)
        lines.append(line)
    return lines


def faults(findings: list[Finding]) -> list[tuple[Fault, int]]:
    return [(one.fault, one.number) for one in findings]


def head(lines: list[bytes]) -> Head:
    last = read_entry(lines[-1])
    return Head(last.chain, last.number, last.hash)


def test_a_chain_as_it_was_written_has_no_fault() -> None:
    assert check(chain()) == []
    assert read_entry(chain()[1]).event == OPENED


def test_an_entry_is_one_json_object_that_ends_with_its_hash() -> None:
    line = chain()[3]
    fields = list(msgspec.json.decode(line))
    assert fields == ["chain", "number", "at_ms", "event", "hash"]
    assert b"\n" not in line


FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "somebody else's name": lambda line: line.replace(b"m.alvarez", b"m.alvarey"),
    "another token": lambda line: line.replace(b'"t-1"', b'"t-2"'),
    "another issuer": lambda line: line.replace(b"issuer.test", b"issuer.tesu"),
    "another address": lambda line: line.replace(b"192.0.2.7", b"192.0.2.8"),
    "another stream": lambda line: line.replace(b"node-one.s1", b"node-one.s2"),
    "another district": lambda line: line.replace(b"district/19990010000000/", b"district/19990020000000/"),
    "another class": lambda line: line.replace(b"exact-loading", b"exact-release"),
    "another test": lambda line: line.replace(b"ELA-SUM", b"MAT-SUM"),
    "another report": lambda line: line.replace(b"aggregate", b"individual"),
    "another kind": lambda line: line.replace(b"stream_opened", b"stream_closed"),
    "another time": lambda line: line.replace(b'"at_ms":1777', b'"at_ms":1778'),
    "another hash": lambda line: line[:-3] + (b"0" if line[-3:-2] != b"0" else b"1") + line[-2:],
    "a blank more": lambda line: line.replace(b'"event":', b'"event": '),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
def test_an_entry_with_one_thing_changed_is_found(forge: Callable[[bytes], bytes]) -> None:
    lines = chain()
    forged = forge(lines[1])
    assert forged != lines[1]
    lines[1] = forged
    found = check(lines)
    assert found and min(one.number for one in found) <= 3
    assert {one.fault for one in found} <= {Fault.CHANGED, Fault.UNREADABLE, Fault.MISSING}


def test_it_is_the_comparison_of_hashes_that_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = chain()
    lines[1] = lines[1].replace(b"m.alvarez", b"m.alvarey")
    assert check(lines)
    monkeypatch.setattr("cli.audit.chains.follows", lambda line, entry, previous: True)
    assert check(lines) == []


def test_a_changed_entry_with_its_hash_made_anew_breaks_the_next() -> None:
    lines = chain()
    previous = read_entry(lines[0]).hash
    entry = read_entry(lines[1])
    event = msgspec.structs.replace(entry.event, subject="somebody.else@district.test")
    lines[1], _ = entry_bytes(CHAIN, 2, entry.at_ms, event, previous)
    assert faults(check(lines)) == [(Fault.CHANGED, 3)]


@pytest.mark.parametrize("place", range(4))
def test_an_entry_that_was_removed_is_missed(place: int) -> None:
    lines = chain()
    del lines[place]
    assert (Fault.MISSING, place + 1) in faults(check(lines))


def test_an_entry_that_was_put_in_is_found() -> None:
    lines = chain()
    inserted, _ = entry_bytes(CHAIN, 3, 1, OPENED, read_entry(lines[1]).hash)
    lines.insert(2, inserted)
    found = faults(check(lines))
    assert (Fault.FORKED, 3) in found


def test_two_entries_that_changed_places_and_numbers_are_found() -> None:
    lines = chain()
    lines[1], lines[2] = (
        lines[2].replace(b'"number":3', b'"number":2'),
        lines[1].replace(b'"number":2', b'"number":3'),
    )
    assert {number for fault, number in faults(check(lines)) if fault is Fault.CHANGED} >= {2, 3}


def test_entries_that_come_late_or_twice_are_no_fault() -> None:
    lines = chain()
    assert check([lines[1], lines[0], lines[3], lines[2], lines[4], *lines]) == []


def test_an_end_that_was_cut_off_shows_where_the_next_chain_of_the_folder_took_over() -> None:
    first = chain()
    taken_over = AuditEvent(kind=AuditKind.CHAIN_STARTED, heads=(head(first),))
    second = chain([taken_over], OTHER)
    assert check([*first, *second]) == []
    [cut] = check([*first[:-1], *second])
    assert (cut.chain, cut.fault, cut.number) == (CHAIN, Fault.CUT, 4)


def test_an_end_that_was_cut_off_shows_by_a_witness() -> None:
    first = chain()
    second = chain(
        [
            AuditEvent(kind=AuditKind.CHAIN_STARTED),
            AuditEvent(kind=AuditKind.HEADS, heads=(head(first[:4]),)),
        ],
        OTHER,
    )
    assert check([*first, *second]) == []
    assert faults(check([*first[:3], *second])) == [(Fault.CUT, 3)]


def test_a_chain_that_was_removed_altogether_is_missed_by_the_chain_after_it() -> None:
    second = chain([AuditEvent(kind=AuditKind.CHAIN_STARTED, heads=(head(chain()),))], OTHER)
    assert [(one.chain, one.fault) for one in check(second)] == [(CHAIN, Fault.UNKNOWN)]


def test_a_chain_rewritten_from_the_middle_on_does_not_end_with_the_hash_that_others_saw() -> None:
    first = chain()
    rewritten = chain([*EVENTS[:2], *EVENTS[3:], EVENTS[4]])
    assert check(rewritten) == []
    checker = Checker()
    checker.tell(head(first), "Redis")
    for line in rewritten:
        checker.add(line, "here")
    assert faults(checker.finish()) == [(Fault.FORKED, 5)]


def test_a_spool_that_keeps_only_its_newest_files_begins_anywhere_but_has_no_gap() -> None:
    lines = chain()

    def found(kept: list[bytes]) -> list[tuple[Fault, int]]:
        checker = Checker(beginnings=False)
        for line in kept:
            checker.add(line, "spool")
        return faults(checker.finish())

    assert found(lines[2:]) == []
    assert found([lines[2], lines[4]]) == [(Fault.MISSING, 4)]


def test_what_is_no_entry_is_named() -> None:
    [found] = check([b'{"chain": 1}'])
    assert found.fault is Fault.UNREADABLE
    with pytest.raises(Broken, match="no audit entry"):
        read_entry(b"\xff")


def test_chains_without_an_end_are_named_but_are_no_fault() -> None:
    checker = Checker()
    for line in chain(EVENTS[:-1]):
        checker.add(line, "here")
    assert checker.finish() == []
    assert [one.name for one in checker.open_ends()] == [CHAIN]

"""Redis keys. A Kafka partition's tables share one hash tag, ``{<generation>.<partition>}``, hence one cluster slot.

Layout of one partition of one generation (here "g1"):

    {g1.3}:position        hash    next offset, epoch, owner, log identity, complete_ms, changed_ms, catch_up
    {g1.3}:exams:<bucket>  hash    <student key, 12 bytes><digest of year:test:grade, 8 bytes> -> exams (streams.rows)
    {g1.3}:cells:<cds>     hash    <year>:<test>:<grade> -> changed-at + this partition's share (schemas.shares)
    {g1.3}:changes         stream  one entry per applied batch: which cells changed
    {g1.3}:results         stream  one entry per batch that rescored or invalidated exams, until the relay has published it
    {g1.3}:relayed         hash    the relay's: epoch, last notice, and up to when, that Kafka has
    {g1.3}:reconsidered    set     while it is rebuilt: the units of which it knows more or less than the serving generation

and beside the partitions:

    scores:generation         string  the name of the serving generation, which says how it was made
    {scores:generation}:rebuild         hash    the rebuild under way, or the last one (streams.rebuild_state)
    {scores:generation}:rebuild-lease   string  who works on it; expires
    scores:partitions         string  how many partitions the tables have
    scores:closings           string  which tests were closed when (JSON); for gateways to show, nothing is decided by it
    {organizations}:entries   hash    <cds> -> directory entry (JSON)
    {organizations}:version   string  grows with every change of the directory
    {organizations}:position  hash    next offset of each partition of the organizations topic
    {releases}:entries        hash    <year>/<district>/<subject>/<report> -> release entry (JSON)
    {releases}:version        string  grows with every change of a release state
    {releases}:changed_ms     string  when that was (Redis time)
    {releases}:position       hash    next offset of each partition of the releases topic
    scores:releases           channel published after each change, with the version
    {published}:position      hash    epoch and owner of the publisher, number of the next write, changed_ms
    {published}:cells:<cds>   hash    <year>:<test>:<grade> -> published cell (schemas.disclosure.published)
    {published}:changes       stream  one entry per write: which published cells changed
    {published}:relayed       hash    as that of a partition
    {published}:families      hash    <year>:<test>:<grade> -> what the publisher knows of all its schools (schemas.disclosure.family)
    {revocations}:log         stream  which tokens open nothing any more (gateway.revocations)
    {ticket:<hash>}:fresh     string  what a ticket opens, until it is redeemed; expires
    {ticket:<hash>}:redeemed  string  the same for the reconnects of its stream; expires
    {relay}:lease             string  epoch of the relay that works; expires
    {relay}:epoch             string  the latest epoch
    {relay}:generation        string  the generation of which Kafka has every cell
    {operations}:...          how the service is doing; see schemas.operations
    scores:imports:...        see gateway.imports
    scores:audit:heads        hash    <chain> -> its newest entry's number and hash (JSON), each minute
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, NewType, cast

from schemas.identifiers import OrganizationId, PartitionId

Generation = NewType("Generation", str)
Attribution = Literal["current", "tested"]  # under which school a result counts: the student's, or the test's

GENERATION: Final = "scores:generation"
PARTITION_COUNT: Final = "scores:partitions"
CLOSINGS: Final = "scores:closings"
# In the slot of the pointer, so that one script checks them and flips it.
REBUILD: Final = f"{{{GENERATION}}}:rebuild"
REBUILD_LEASE: Final = f"{{{GENERATION}}}:rebuild-lease"
AUDIT_HEADS: Final = "scores:audit:heads"
ORGANIZATIONS: Final = "{organizations}:entries"
ORGANIZATIONS_VERSION: Final = "{organizations}:version"
ORGANIZATIONS_POSITION: Final = "{organizations}:position"
REVOCATIONS: Final = "{revocations}:log"
RELEASES: Final = "{releases}:entries"
RELEASES_VERSION: Final = "{releases}:version"
RELEASES_CHANGED_MS: Final = "{releases}:changed_ms"
RELEASES_POSITION: Final = "{releases}:position"
RELEASES_CHANNEL: Final = "scores:releases"
# Of no generation: what has been published was seen, whatever the tables are rebuilt from.
PUBLISHED_POSITION: Final = "{published}:position"
PUBLISHED_CHANGES: Final = "{published}:changes"
PUBLISHED_RELAYED: Final = "{published}:relayed"
PUBLISHED_FAMILIES: Final = "{published}:families"
_PUBLISHED_CELLS: Final = "{published}:cells:"
RELAY_LEASE: Final = "{relay}:lease"
RELAY_EPOCH: Final = "{relay}:epoch"
RELAY_GENERATION: Final = "{relay}:generation"

# Redis stores a hash compactly (as one listpack) while it has at most 128 fields, and searches it from end to end. Ten
# million results over 8 partitions and 131,072 buckets are ten a bucket, of a dozen years 120: short to search, so that a write
# costs late in a season what it costs early, and the key costs some ten bytes a result.
EXAM_BUCKETS: Final = 131_072

RESULTS_ENDING: Final = ":results"

# And while none of its values is longer than Redis' setting ``hash-max-listpack-value``, 64 bytes unless it is set. A share's recent
# part has up to 205, its totals some 650, more only in the largest counties and the state: kept compactly they take less memory, and a
# write costs a third less.
COMPACT_VALUE_BYTES: Final = 1_024

# The layout of exam rows (streams.rows), shares (schemas.shares) and of these keys; another number needs a rebuild.
LAYOUT: Final = 4

_MADE: Final = re.compile(r"g[0-9a-f]+-(?P<layout>[0-9]+)-(?P<attribution>current|tested)")


class Made(NamedTuple):
    """How a generation's tables are made."""

    layout: int
    attribution: Attribution


def new_generation(now_ms: int, attribution: Attribution = "current") -> Generation:
    """A name that no earlier set of tables had, so that a subscriber of those is not taken for one of these.

    It says how the tables are made, as ``g19a2b3c4d5e-4-current``: so whoever knows which generation is meant knows that
    too, and nothing can part the two.
    """
    return Generation(f"g{now_ms:x}-{LAYOUT}-{attribution}")


def how_made(generation: Generation) -> Made:
    """What a generation's name says; names of the first layout said nothing, and meant the student's current school."""
    found = _MADE.fullmatch(generation)
    if found is None:
        return Made(1, "current")
    return Made(int(found["layout"]), cast(Attribution, found["attribution"]))


def keys_of(generation: Generation) -> str:
    """The pattern of all key names of a generation."""
    return f"{{{generation}.*}}:*"


def published_cells(organization: OrganizationId) -> str:
    """The hash that holds an organization's published cells."""
    return _PUBLISHED_CELLS + organization


class PartitionKeys:
    """The key names of one partition of one generation."""

    __slots__ = (
        "_cells",
        "_exams",
        "changes",
        "generation",
        "position",
        "reconsidered",
        "relayed",
        "results",
    )

    def __init__(self, generation: Generation, partition: PartitionId) -> None:
        self.generation = generation
        tag = f"{{{generation}.{partition}}}"
        self.position = f"{tag}:position"
        self.changes = f"{tag}:changes"
        self.results = tag + RESULTS_ENDING
        self.relayed = f"{tag}:relayed"
        self.reconsidered = f"{tag}:reconsidered"
        self._exams = f"{tag}:exams:"
        self._cells = f"{tag}:cells:"

    def exams(self, unit: bytes) -> str:
        """The hash that holds a unit's exams. It begins with the student's key, so a student's are all in one."""
        return self.exams_of((unit,))[0]

    def exams_of(self, units: Iterable[bytes]) -> list[str]:
        """``exams`` of each unit."""
        prefix = self._exams
        return [f"{prefix}{int.from_bytes(unit[:4]) % EXAM_BUCKETS}" for unit in units]

    def cells(self, organization: OrganizationId) -> str:
        """The hash that holds this partition's share of an organization's cells."""
        return self._cells + organization


class TicketKeys(NamedTuple):
    """Key names of one ticket, by the hexadecimal SHA-256 of it; Redis never sees the ticket."""

    digest: str

    @property
    def fresh(self) -> str:
        """Until it is redeemed."""
        return f"{{ticket:{self.digest}}}:fresh"

    @property
    def redeemed(self) -> str:
        """Afterwards."""
        return f"{{ticket:{self.digest}}}:redeemed"

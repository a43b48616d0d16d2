"""Redis keys. A Kafka partition's tables share one hash tag, ``{<generation>.<partition>}``, hence one cluster slot.

Layout of one partition of one generation (here "g1"):

    {g1.3}:position        hash    next offset, epoch, owner, log identity, complete_ms, changed_ms
    {g1.3}:exams:<bucket>  hash    <student key, 12 bytes><year>:<test>:<grade> -> packed exams (streams.scoring)
    {g1.3}:cells:<cds>     hash    <year>:<test>:<grade> -> changed-at + packed cell (this partition's share)
    {g1.3}:changes         stream  one entry per applied batch: which cells changed

and beside the partitions:

    scores:generation         string  the serving generation: g and the milliseconds of its creation, in hexadecimal
    scores:partitions         string  how many partitions the tables have
    {organizations}:entries   hash    <cds> -> directory entry (JSON)
    {organizations}:version   string  grows with every change of the directory
    {organizations}:position  hash    next offset of each partition of the organizations topic
    scores:imports:...        see gateway.imports
"""

from __future__ import annotations

from typing import Final, NewType

from schemas.identifiers import OrganizationId, PartitionId, StudentKey

Generation = NewType("Generation", str)

GENERATION: Final = "scores:generation"
PARTITION_COUNT: Final = "scores:partitions"
ORGANIZATIONS: Final = "{organizations}:entries"
ORGANIZATIONS_VERSION: Final = "{organizations}:version"
ORGANIZATIONS_POSITION: Final = "{organizations}:position"

# Redis stores a hash compactly (as one listpack) while it has at most 128 fields. 10 million results over 8 partitions
# and 16,384 buckets are 76 a bucket; with more partitions, fewer.
EXAM_BUCKETS: Final = 16_384


def new_generation(now_ms: int) -> Generation:
    """A name that no earlier set of tables had, so that a subscriber of those is not taken for one of these."""
    return Generation(f"g{now_ms:x}")


class PartitionKeys:
    """The key names of one partition of one generation."""

    __slots__ = ("_cells", "_exams", "changes", "generation", "position")

    def __init__(self, generation: Generation, partition: PartitionId) -> None:
        self.generation = generation
        tag = f"{{{generation}.{partition}}}"
        self.position = f"{tag}:position"
        self.changes = f"{tag}:changes"
        self._exams = f"{tag}:exams:"
        self._cells = f"{tag}:cells:"

    def exams(self, student: StudentKey) -> str:
        """The hash that holds this student's exams; a student's exams are all in one."""
        return f"{self._exams}{int(student[:8], 16) % EXAM_BUCKETS}"

    def cells(self, organization: OrganizationId) -> str:
        """The hash that holds this partition's share of an organization's cells."""
        return self._cells + organization

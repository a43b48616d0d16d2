"""The audit's entries, and the chain that makes a change to any of them show.

An entry is one JSON object in one line. Its last member is ``hash``: SHA-256 over the hash of the entry before it and over
the bytes of this one without that member. Nothing is ever encoded again to check a hash: the bytes as they were written
count. Entries of a chain are numbered from 1; the first entry of a chain names the chains that it takes over from.

What an entry may hold is in this type: who, which token (its id), which organizations, how it ended. There is no place
for a figure, and none for a token.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256
from typing import Final, Literal

import msgspec
from msgspec import Struct

from schemas.errors import InvalidInput

NO_HASH: Final = "0" * 64  # before a chain's first entry
LONGEST_TEXT: Final = 2_000  # characters of one text from outside; an entry stays well below a Kafka record
MOST_ORGANIZATIONS: Final = 10_000  # topics named in one entry; no stream may have more

_HASH_MEMBER: Final = b',"hash":"'
_TAIL: Final = len(_HASH_MEMBER) + 64 + len(b'"}')


class AuditKind(StrEnum):
    """What happened."""

    # Results of persons, seen.
    STREAM_OPENED = "stream_opened"
    STREAM_CHANGED = "stream_changed"  # it watches something else, or is shown it differently, from now on
    STREAM_RENEWED = "stream_renewed"  # with a fresh token
    STREAM_CLOSED = "stream_closed"
    RESULTS_READ = "results_read"  # by a plain request
    ORGANIZATIONS_LISTED = "organizations_listed"
    # Refused, whoever asked.
    REFUSED = "refused"
    # Results, delivered.
    IMPORTED = "imported"
    IMPORT_READ = "import_read"
    # Decisions about who may see what.
    RELEASE_CHANGED = "release_changed"
    YEAR_CLOSED = "year_closed"
    YEAR_REOPENED = "year_reopened"
    ROLES_CHANGED = "roles_changed"
    SESSION_OPENED = "session_opened"
    SESSION_CLOSED = "session_closed"
    TICKET_ISSUED = "ticket_issued"
    TICKET_REDEEMED = "ticket_redeemed"
    REVOKED = "revoked"
    REVOCATION_LIFTED = "revocation_lifted"
    AUDIT_READ = "audit_read"
    # Results sent to other systems.
    WEBHOOK_CREATED = "webhook_created"
    WEBHOOK_CHANGED = "webhook_changed"
    WEBHOOK_DELETED = "webhook_deleted"
    WEBHOOK_SECRET_ROTATED = "webhook_secret_rotated"
    WEBHOOK_ORDERED = "webhook_ordered"  # a test message, something again, or that it is enabled
    WEBHOOK_REVOKED = "webhook_revoked"  # a revocation reached its owner's rights
    WEBHOOK_SENT = "webhook_sent"  # an attempt to deliver begins; ``stream`` names it
    WEBHOOK_ANSWERED = "webhook_answered"  # how that attempt ended
    # Of the audit itself.
    CHAIN_STARTED = "chain_started"
    CHAIN_ENDED = "chain_ended"
    HEADS = "heads"  # where other chains stand: a witness, should one of them lose its end
    ENTRIES_LOST = "entries_lost"  # more came than could be held while the disk took nothing


class Head(Struct, frozen=True, gc=False):
    """Where a chain stands: its newest entry."""

    chain: str
    number: int
    hash: str


class AuditEvent(Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What is noted. Everything but the kind may be left out; what is left out is not in the entry.

    Attributes:
        stream: of a stream its id, of an attempt to deliver a webhook the message's id and the time; whatever is named so ends.
        organizations: the topics as they were written (``district/<CDS>/schools``), or ``<level>/<CDS>``.
        classes: how each of them is shown (``VisibilityClass``), one for each; or one for all.
        report: whether results of persons or aggregates of them.
        outcome: how it ended: a close reason, a status, what became of an import.
        rule: by which rule or permission it was decided.
        resumed: from when on a stream that came back was brought up to date, as its id said.
        heads: of chains; in entries about the audit itself.
    """

    kind: AuditKind
    subject: str = ""
    token_id: str = ""
    issuer: str = ""
    address: str = ""
    stream: str = ""
    organizations: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()
    grades: tuple[str, ...] = ()
    years: tuple[int, ...] = ()
    report: Literal["", "aggregate", "individual"] = ""
    outcome: str = ""
    rule: str = ""
    detail: str = ""
    resumed: str = ""
    seconds: float = 0.0  # how long a stream was open, or an answer took
    heads: tuple[Head, ...] = ()


class AuditEntry(Struct, frozen=True, kw_only=True):
    """An entry as it is read back."""

    chain: str
    number: int
    at_ms: int  # the writing node's clock
    event: AuditEvent
    hash: str


class _Body(Struct, frozen=True, gc=False):
    chain: str
    number: int
    at_ms: int
    event: AuditEvent


class Broken(InvalidInput):
    """These bytes are no entry, or not the entry whose hash they carry."""


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(AuditEntry).decode


def chained(body: bytes, previous: str) -> str:
    """The hash of an entry, from its bytes without the hash and the hash of the entry before it."""
    return sha256(bytes.fromhex(previous) + body).hexdigest()


def entry_bytes(chain: str, number: int, at_ms: int, event: AuditEvent, previous: str) -> tuple[bytes, str]:
    """One entry as it is written, without a line end, and its hash."""
    body = _encode(_Body(chain, number, at_ms, event))
    digest = chained(body, previous)
    return body[:-1] + _HASH_MEMBER + digest.encode() + b'"}', digest


def read_entry(line: bytes) -> AuditEntry:
    """What an entry says; whether it is the one that was written is for ``follows``.

    Raises:
        Broken: it is no entry.
    """
    try:
        entry = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Broken(f"this is no audit entry: {error}") from None
    if line[-_TAIL:] != _HASH_MEMBER + entry.hash.encode() + b'"}':
        raise Broken("the entry's hash is not its last member")
    return entry


def follows(line: bytes, entry: AuditEntry, previous: str) -> bool:
    """Whether these bytes are what was written right after the entry with the hash ``previous``."""
    return chained(line[:-_TAIL] + b"}", previous) == entry.hash


def shortened(text: str) -> str:
    """A text from outside as it may stand in an entry."""
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"


def shortened_all(texts: Iterable[str]) -> tuple[str, ...]:
    """Texts from outside as they may stand in an entry."""
    found = tuple(shortened(text) for text in texts)
    return found if len(found) <= MOST_ORGANIZATIONS else (*found[:MOST_ORGANIZATIONS], "…")

"""Which entries a search is about, and which of them concern an organization; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from schemas.audit import AuditEntry, AuditEvent, AuditKind
from schemas.errors import InvalidIdentifier, InvalidInput
from schemas.identifiers import OrganizationId, ancestry, organization_id

# What ends a stream, or an attempt to deliver a webhook; entries of one kind have the same ``stream``.
ENDS: Final = frozenset({AuditKind.STREAM_CLOSED, AuditKind.WEBHOOK_ANSWERED})


class Reach(StrEnum):
    """Which organizations count as concerned, beside the one that is asked for."""

    ALL = "all"  # those below it, and those above it, whose totals contain its students
    BELOW = "below"
    ABOVE = "above"
    ITSELF = "itself"


@dataclass(frozen=True, slots=True)
class Selection:
    """All conditions must hold; an empty one holds for every entry."""

    subject: str | None = None
    token_id: str | None = None
    organization: OrganizationId | None = None
    reach: Reach = Reach.ALL
    kinds: frozenset[AuditKind] = frozenset()
    since_ms: int = 0
    until_ms: int | None = None


class Matcher:
    """Decides entry by entry. A closing or renewal names no organizations: it goes with the stream, or attempt to deliver, it is of."""

    def __init__(self, wanted: Selection) -> None:
        self._wanted = wanted
        self._streams: set[str] = set()

    def matches(self, entry: AuditEntry) -> bool:
        """Whether this entry is meant; call it for all entries of a chain, in order."""
        wanted, event = self._wanted, entry.event
        about = wanted.organization is None or self._concerns(wanted.organization, event)
        return (
            about
            and (wanted.subject is None or event.subject == wanted.subject)
            and (wanted.token_id is None or event.token_id == wanted.token_id)
            and (not wanted.kinds or event.kind in wanted.kinds)
            and entry.at_ms >= wanted.since_ms
            and (wanted.until_ms is None or entry.at_ms < wanted.until_ms)
        )

    def _concerns(self, organization: OrganizationId, event: AuditEvent) -> bool:
        named = any(concerns(topic, organization, self._wanted.reach) for topic in event.organizations)
        if not event.stream:
            return named
        known = event.stream in self._streams
        if event.kind in ENDS:
            self._streams.discard(event.stream)
        elif named:
            self._streams.add(event.stream)
        elif event.organizations:
            self._streams.discard(event.stream)  # it went on to watch something else
        # The change away from it is part of the story, too.
        return named or known


def concerns(topic: str, organization: OrganizationId, reach: Reach = Reach.ALL) -> bool:
    """Whether what a topic names is the organization, or, as ``reach`` says, contains it or belongs to it.

    A subtree is what its root is: ``county/<CDS>/schools`` shows schools of every district of the county.
    """
    named = organization_of(topic)
    if named is None:
        return False
    if named == organization:
        return True
    if reach in (Reach.ALL, Reach.ABOVE) and named in ancestry(organization):
        return True
    return reach in (Reach.ALL, Reach.BELOW) and organization in ancestry(named)


def organization_of(topic: str) -> OrganizationId | None:
    """The organization that a topic as written names; None when it names none."""
    for word in topic.split("/")[:2]:
        try:
            return organization_id(word)
        except InvalidIdentifier:
            continue
    return None


def kinds(texts: Iterable[str]) -> frozenset[AuditKind]:
    """Kinds from what was typed.

    Raises:
        InvalidInput: one is none.
    """
    known = {kind.value: kind for kind in AuditKind}
    found = set()
    for text in texts:
        kind = known.get(text.strip().lower().replace("-", "_"))
        if kind is None:
            raise InvalidInput(f"'{text[:40]}' is no kind of entry; expected one of {', '.join(known)}")
        found.add(kind)
    return frozenset(found)

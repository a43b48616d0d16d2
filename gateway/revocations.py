"""Which tokens open nothing any more, although they are signed and have not expired; pure.

Three kinds, none of which stops a token that is issued later: whether somebody gets a new token is for the issuer to say.

- *token*: the one of this id.
- *subject*: all of this subject.
- *district*: all whose rights reach into this district from within it: held at the district, or at one of its schools.
  Not those of the county or the state, which are other people's.

Clocks differ: a token that says it was issued up to ``CLOCK_LEEWAY_SECONDS`` after a revocation is taken for one of before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from gateway.tokens import CLOCK_LEEWAY_SECONDS, Principal
from schemas.identifiers import OrganizationId, ancestry

ANY_ISSUER = ""


class RevocationKind(StrEnum):
    """What a revocation names."""

    TOKEN = "token"
    SUBJECT = "subject"
    DISTRICT = "district"


class Revocation(Struct, frozen=True, omit_defaults=True):
    """Tokens issued up to a moment open nothing. ``issuer`` empty means every issuer's."""

    kind: RevocationKind
    value: str  # a token id, a subject or a CDS code
    at_ms: int = 0  # Redis time
    issuer: str = ANY_ISSUER
    by: str = ""  # whose decision


class RevocationList:
    """The revocations that are known; asking takes the same time however many there are."""

    def __init__(self) -> None:
        self._known: dict[Revocation, None] = {}
        self._latest: dict[tuple[RevocationKind, str, str], int] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Revocation]:
        return iter(self._known)

    def add(self, revocation: Revocation) -> bool:
        """Take one more; False when it was known."""
        if revocation in self._known:
            return False
        self._known[revocation] = None
        key = (revocation.kind, revocation.issuer, revocation.value)
        self._latest[key] = max(revocation.at_ms, self._latest.get(key, 0))
        return True

    def forget(self, before_ms: int) -> None:
        """Leave out those of before: no token of then can still be valid."""
        if any(one.at_ms < before_ms for one in self._known):
            kept = [one for one in self._known if one.at_ms >= before_ms]
            self._known, self._latest = {}, {}
            for one in kept:
                self.add(one)

    def refuses(self, principal: Principal) -> bool:
        """Whether somebody's token has been revoked."""
        if not self._latest:
            return False
        issued_ms = 0.0
        if principal.issued is not None:
            issued_ms = (principal.issued.timestamp() - CLOCK_LEEWAY_SECONDS) * 1000
        return any(issued_ms <= self._latest.get(key, -1) for key in _names(principal))


def _names(principal: Principal) -> Iterable[tuple[RevocationKind, str, str]]:
    for issuer in (principal.issuer, ANY_ISSUER):
        yield RevocationKind.TOKEN, issuer, principal.token_id
        yield RevocationKind.SUBJECT, issuer, principal.subject
    for organization in _reached(principal):
        for above in ancestry(organization):
            yield RevocationKind.DISTRICT, ANY_ISSUER, above


def _reached(principal: Principal) -> set[OrganizationId]:
    return {one for held in principal.rights.scopes.values() for one in held}

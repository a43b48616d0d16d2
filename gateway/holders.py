"""Who holds a token, in the form in which nodes tell each other, and which Redis keeps behind a ticket.

What is granted travels, never what it comes to: each node has roles of its own to judge by. Nor the token itself.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from gateway.tokens import Principal
from schemas.access.permissions import Grant, GroupGrant
from schemas.access.roles import Roles


class Holder(Struct, frozen=True, array_like=True):
    """A principal without rights."""

    subject: str
    grants: tuple[Grant | GroupGrant, ...]
    expires: datetime
    token_id: str
    issuer: str = ""
    issued: datetime | None = None

    def principal(self, roles: Roles) -> Principal:
        """The same with the rights that these roles give."""
        return Principal(
            subject=self.subject,
            grants=self.grants,
            expires=self.expires,
            token_id=self.token_id,
            rights=roles.rights(self.grants),
            issuer=self.issuer,
            issued=self.issued,
        )


def holder_of(principal: Principal) -> Holder:
    """A principal as others are told of it."""
    return Holder(
        principal.subject,
        principal.grants,
        principal.expires,
        principal.token_id,
        principal.issuer,
        principal.issued,
    )

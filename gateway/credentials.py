"""Where a request carries its token: the Authorization header, or the page's cookie.

The cookie exists for browsers' EventSource, which cannot send headers. It opens what is read, never what is written: the
import endpoint asks for the header. Whatever carries it: a token that has been revoked opens nothing.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import HTTPConnection

from gateway.request_scope import PRINCIPAL
from gateway.revocation_log import RevocationLog
from gateway.tokens import Principal, TokenRefused, TokenVerifier

SESSION_COOKIE: Final = "scores_session"

_MISSING: Final = "Send an access token: Authorization: Bearer TOKEN."


class Credentials:
    """Finds and verifies the token of a request."""

    def __init__(self, verifier: TokenVerifier, revocations: RevocationLog) -> None:
        self._verifier = verifier
        self._revocations = revocations

    def absences(self) -> list[str]:
        """Why some or all tokens are not taken just now; empty when all are."""
        why = self._revocations.absence()
        return [*self._verifier.absences(), *([why] if why is not None else [])]

    def by_header(self, request: HTTPConnection) -> Principal | None:
        """Who the Authorization header stands for; None when there is none.

        Raises:
            TokenRefused: it is no bearer token, or one that opens nothing.
            DependencyUnavailable: the issuer's keys, or what has been revoked, is not known just now.
        """
        token = bearer_token(request)
        return self._verified(request, token) if token is not None else None

    def by_header_only(self, request: HTTPConnection) -> Principal:
        """Who asks for something to be done. A cookie does not do: it is sent by any page that a browser shows.

        Raises:
            TokenRefused: nothing was sent, or a token that opens nothing.
        """
        principal = self.by_header(request)
        if principal is None:
            raise TokenRefused("missing", _MISSING)
        return principal

    def by_header_or_cookie(self, request: HTTPConnection) -> Principal:
        """Who asks.

        Raises:
            TokenRefused: nothing was sent, or a token that opens nothing.
            DependencyUnavailable: the issuer's keys, or what has been revoked, is not known just now.
        """
        token = bearer_token(request)
        if token is None:
            token = request.cookies.get(SESSION_COOKIE)
            # A browser says where a request comes from; our page and typed addresses are the only ones with business here.
            if token and request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
                raise TokenRefused("cross_site", "The session cookie works on this service's own pages only.")
        if not token:
            raise TokenRefused("missing", _MISSING)
        return self._verified(request, token)

    def _verified(self, request: HTTPConnection, token: str) -> Principal:
        principal = self._verifier.verify(token)
        request.scope[PRINCIPAL] = principal  # whoever is refused from here on is noted by name
        return self._revocations.check(principal)


def bearer_token(request: HTTPConnection) -> str | None:
    """The token of the Authorization header; None when there is no such header.

    Raises:
        TokenRefused: the header is of another kind.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise TokenRefused("malformed", "The Authorization header is not of the form 'Bearer TOKEN'.")
    return token.strip()

"""Access tokens: JWTs as RFC 9068 profiles them, verified with their issuer's keys and nobody else's.

The algorithms come from our configuration, never from the token; ``jwk``, ``jku`` and ``x5u`` in a token are ignored;
``kid`` is a hint. What a token says of its issuer selects the keys that it must be signed with.

Our claim ``scores`` says what the token opens: ``{"grants": [{"role": "...", "org": "<CDS>"}]}``; a tenancy chain does too
(``gateway.grant_claims``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from gateway.grant_claims import grants_of
from gateway.signing_keys import KeysAway, SigningKeys
from schemas.access.permissions import NO_RIGHTS, Grant, GroupGrant, Rights
from schemas.access.roles import BUILT_IN_ROLES, Roles
from schemas.errors import InvalidInput, ScoreStreamError

# "Ed25519" is the name RFC 9864 gives to what most issuers still call "EdDSA".
ALGORITHMS: Final = ("Ed25519", "EdDSA", "ES256", "RS256")
TOKEN_TYPES: Final = ("at+jwt", "application/at+jwt")
LONGEST_TOKEN: Final = 8_192  # characters; what proxies let through in one header

CLOCK_LEEWAY_SECONDS: Final = 30  # for "not before" and "issued at" only; an expired token is expired
LONGEST_LIFE: Final = timedelta(days=30)  # revocations are kept as long


class TokenRefused(ScoreStreamError):
    """The token opens nothing.

    Attributes:
        reason: a short word for metrics and for the answer; says nothing about what the token would have opened.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _Issued(msgspec.Struct, frozen=True):
    iss: str


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    aud: str | tuple[str, ...]
    exp: float
    sub: str
    jti: str
    iat: float
    nbf: float | None = None
    scores: Any = None
    tenancy: Any = None
    sbacTenancyChain: Any = None  # as the state's identity provider names it


_decode_issued: Final = msgspec.json.Decoder(_Issued).decode
_decode_claims: Final = msgspec.json.Decoder(_Claims).decode


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, what is granted, and until when; never the token itself."""

    subject: str
    grants: tuple[Grant | GroupGrant, ...]
    expires: datetime
    token_id: str
    rights: Rights = NO_RIGHTS  # what the grants come to here
    issuer: str = ""
    issued: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """Somebody whose tokens are believed, for one audience, when one of these keys signed them."""

    name: str
    audience: str
    keys: SigningKeys
    algorithms: tuple[str, ...] = ALGORITHMS


class TokenVerifier:
    """Verifies tokens of the issuers that are believed here."""

    def __init__(
        self,
        issuers: Sequence[TrustedIssuer],
        *,
        roles: Callable[[], Roles] = lambda: BUILT_IN_ROLES,
        longest_life: timedelta = LONGEST_LIFE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``roles`` gives the roles of the moment; no token lives longer than ``longest_life`` after it was issued."""
        self._issuers = {one.name: (one, _registry(one.algorithms)) for one in issuers}
        self._roles = roles
        self._longest_seconds = longest_life.total_seconds()
        self._clock = clock

    def verify(self, token: str) -> Principal:
        """Who the token stands for.

        Raises:
            TokenRefused: it is malformed, not signed by its issuer, expired, or meant for somebody else.
            KeysAway: the issuer's keys are not here, or a key that it names is being fetched.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenRefused("malformed", f"The token is longer than {LONGEST_TOKEN} characters.")
        issuer, payload = self._verified(token)
        try:
            claims = _decode_claims(payload)
            grants = grants_of(claims.scores, claims.tenancy or claims.sbacTenancyChain)
        except (msgspec.MsgspecError, InvalidInput) as error:
            raise TokenRefused("malformed", f"The token's claims are not as expected: {error}.") from None
        now = self._clock().timestamp()
        audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
        if issuer.audience not in audiences:
            raise TokenRefused("audience", "The token is meant for another service.")
        expires = min(claims.exp, claims.iat + self._longest_seconds)
        if expires <= now:
            raise TokenRefused("expired", "The token has expired; get a new one.")
        if any(moment and moment > now + CLOCK_LEEWAY_SECONDS for moment in (claims.nbf, claims.iat)):
            raise TokenRefused("early", "The token is not valid yet; check the clocks.")
        return Principal(
            subject=claims.sub,
            grants=grants,
            expires=datetime.fromtimestamp(expires, UTC),
            token_id=claims.jti,
            rights=self._roles().rights(grants),
            issuer=issuer.name,
            issued=datetime.fromtimestamp(claims.iat, UTC),
        )

    def absences(self) -> list[str]:
        """Why tokens cannot be verified just now, by issuer; empty when all can."""
        return [why for one, _ in self._issuers.values() if (why := one.keys.absence()) is not None]

    def _verified(self, token: str) -> tuple[TrustedIssuer, bytes]:
        try:
            unverified = jws.extract_compact(token.encode())
            header: dict[str, Any] = unverified.headers()
            said = _decode_issued(unverified.payload).iss
        except msgspec.MsgspecError as error:
            raise TokenRefused("malformed", f"The token's claims are not as expected: {error}.") from None
        except (JoseError, ValueError, UnicodeError):
            raise TokenRefused("malformed", "This is not a token.") from None
        if header.get("typ") not in TOKEN_TYPES:
            raise TokenRefused("type", "The token is not an access token (typ at+jwt).")
        if said not in self._issuers:
            raise TokenRefused("issuer", "The token was issued by somebody else.")
        issuer, registry = self._issuers[said]
        kid = header.get("kid")
        for key in issuer.keys.candidates(kid):
            try:
                return issuer, jws.deserialize_compact(token, key, registry=registry).payload
            except (JoseError, ValueError, TypeError, AttributeError):
                continue  # another key may fit
        if header.get("alg") in issuer.algorithms and issuer.keys.may_be_behind(kid):
            raise KeysAway("the issuer's keys are being fetched anew")
        raise TokenRefused("signature", "The token is not signed by the issuer with an accepted algorithm.")


def _registry(algorithms: Sequence[str]) -> JWSRegistry:
    # The library warns that "EdDSA" has a newer name; that is for issuers to mend, not for us to log at each connect.
    eddsa = copy.copy(JWSRegistry.algorithms["EdDSA"])
    eddsa.security_warning = None
    registry = JWSRegistry(algorithms=list(algorithms), strict_check_header=False)
    registry.algorithms = {**JWSRegistry.algorithms, eddsa.name: eddsa}
    return registry

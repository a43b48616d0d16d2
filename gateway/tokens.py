"""Access tokens: JWTs as RFC 9068 profiles them, verified with the issuer's keys and nobody else's.

The algorithms come from our configuration, never from the token; ``jwk``, ``jku`` and ``x5u`` in a token are ignored;
``kid`` is a hint. Keys are read from one JWKS file, which belongs to the one issuer that we accept, and read again when
the file changes: a key that is removed there stops verifying at once.

Our claim ``scores`` says what the token opens: ``{"grants": [{"role": "...", "org": "<CDS>"}]}``.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet
from joserfc.jws import JWSRegistry

from gateway.permissions import NO_RIGHTS, Grant, GroupGrant, Rights
from gateway.roles import BUILT_IN_ROLES, Roles
from schemas.errors import InvalidInput, ScoreStreamError
from schemas.identifiers import OrganizationId

# "Ed25519" is the name RFC 9864 gives to what most issuers still call "EdDSA".
ALGORITHMS: Final = ("Ed25519", "EdDSA", "ES256", "RS256")
TOKEN_TYPES: Final = ("at+jwt", "application/at+jwt")
LONGEST_TOKEN: Final = 8_192  # characters; what proxies let through in one header

_CLOCK_LEEWAY_SECONDS: Final = 30  # for "not before" and "issued at" only; an expired token is expired


class TokenRefused(ScoreStreamError):
    """The token opens nothing.

    Attributes:
        reason: a short word for metrics and for the answer; says nothing about what the token would have opened.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class _GrantClaim(msgspec.Struct, frozen=True):
    role: str
    org: str


class _ScoresClaim(msgspec.Struct, frozen=True):
    grants: tuple[_GrantClaim, ...] = ()


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    aud: str | tuple[str, ...]
    exp: float
    sub: str
    jti: str
    iat: float | None = None
    nbf: float | None = None
    scores: _ScoresClaim = _ScoresClaim()


_LATEST: Final = datetime(
    9999, 1, 1, tzinfo=UTC
).timestamp()  # some issuers write "never" as a year nobody can hold
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


class TokenVerifier:
    """Verifies tokens of one issuer, for one audience, with the keys of one JWKS file."""

    def __init__(
        self,
        jwks_file: Path,
        *,
        issuer: str,
        audience: str,
        algorithms: Sequence[str] = ALGORITHMS,
        roles: Roles = BUILT_IN_ROLES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._file = jwks_file
        self._issuer = issuer
        self._audience = audience
        self._registry = _registry(algorithms)
        self._roles = roles
        self._clock = clock
        self._stamp: tuple[int, int, int] | None = None
        self._keys: list[Key] = []

    def load(self) -> None:
        """Read the key file now.

        Raises:
            InvalidInput: it cannot be read, or holds no usable public key.
        """
        try:
            stat = self._file.stat()
            content = json.loads(self._file.read_bytes())
            keys = list(KeySet.import_key_set(content))
        except (OSError, ValueError, KeyError, TypeError, JoseError) as error:
            raise InvalidInput(
                f"SCORES_JWKS_FILE '{self._file}' is not a readable JWKS ({error}); "
                'expected the token issuer\'s public keys, {"keys": [...]}'
            ) from error
        if any(key.key_type == "oct" for key in keys):
            raise InvalidInput(f"SCORES_JWKS_FILE '{self._file}' holds a shared secret; expected public keys")
        self._keys = keys
        self._stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)

    def verify(self, token: str) -> Principal:
        """Who the token stands for.

        Raises:
            TokenRefused: it is malformed, not signed by the issuer, expired, or meant for somebody else.
        """
        if len(token) > LONGEST_TOKEN:
            raise TokenRefused("malformed", f"The token is longer than {LONGEST_TOKEN} characters.")
        payload = self._verified_payload(token)
        try:
            claims = _decode_claims(payload)
        except msgspec.MsgspecError as error:
            raise TokenRefused("malformed", f"The token's claims are not as expected: {error}.") from None
        now = self._clock().timestamp()
        audiences = (claims.aud,) if isinstance(claims.aud, str) else claims.aud
        if claims.iss != self._issuer:
            raise TokenRefused("issuer", "The token was issued by somebody else.")
        if self._audience not in audiences:
            raise TokenRefused("audience", "The token is meant for another service.")
        if claims.exp <= now:
            raise TokenRefused("expired", "The token has expired; get a new one.")
        if any(moment and moment > now + _CLOCK_LEEWAY_SECONDS for moment in (claims.nbf, claims.iat)):
            raise TokenRefused("early", "The token is not valid yet; check the clocks.")
        grants = tuple(Grant(grant.role, OrganizationId(grant.org)) for grant in claims.scores.grants)
        return Principal(
            subject=claims.sub,
            grants=grants,
            expires=datetime.fromtimestamp(min(claims.exp, _LATEST), UTC),
            token_id=claims.jti,
            rights=self._roles.rights(grants),
            issuer=claims.iss,
        )

    def _verified_payload(self, token: str) -> bytes:
        try:
            unverified = jws.extract_compact(token.encode())
            header: dict[str, Any] = unverified.headers()
        except (JoseError, ValueError, UnicodeError):
            raise TokenRefused("malformed", "This is not a token.") from None
        if header.get("typ") not in TOKEN_TYPES:
            raise TokenRefused("type", "The token is not an access token (typ at+jwt).")
        for key in self._candidates(header.get("kid")):
            try:
                return jws.deserialize_compact(token, key, registry=self._registry).payload
            except (JoseError, ValueError):
                continue  # another key may fit
        raise TokenRefused("signature", "The token is not signed by the issuer with an accepted algorithm.")

    def _candidates(self, kid: object) -> list[Key]:
        self._reload_when_changed()
        named = [key for key in self._keys if key.kid == kid]
        return named or self._keys

    def _reload_when_changed(self) -> None:
        try:
            stat = self._file.stat()
            if (stat.st_mtime_ns, stat.st_size, stat.st_ino) != self._stamp:
                self.load()
        except (OSError, InvalidInput):
            if not self._keys:
                raise TokenRefused("keys", "The issuer's keys cannot be read just now.") from None


def _registry(algorithms: Sequence[str]) -> JWSRegistry:
    # The library warns that "EdDSA" has a newer name; that is for issuers to mend, not for us to log at each connect.
    eddsa = copy.copy(JWSRegistry.algorithms["EdDSA"])
    eddsa.security_warning = None
    registry = JWSRegistry(algorithms=list(algorithms), strict_check_header=False)
    registry.algorithms = {**JWSRegistry.algorithms, eddsa.name: eddsa}
    return registry

"""A token issuer for trying out and for tests: its private key lies in a file. Never for production."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from joserfc import jwt
from joserfc.jwk import OKPKey

from gateway.grant_claims import claim_of
from gateway.signing_keys import DEVELOPMENT_KEY_PREFIX
from schemas.access.permissions import Grant, GroupGrant
from schemas.access.roles import BUILT_IN_ROLES, Roles
from schemas.errors import InvalidInput
from schemas.identifiers import organization_id

KEY_FILE: Final = "signing-key.jwk"
JWKS_FILE: Final = "jwks.json"
LONGEST_LIFETIME: Final = timedelta(days=30)


class DevelopmentIssuer:
    """Signs access tokens with an Ed25519 key in ``directory``, which it makes when there is none.

    ``jwks_file`` there is what a gateway needs as SCORES_JWKS_FILE. The name of its key says whose it is: a gateway in
    production refuses a key of that name, wherever it finds it.
    """

    def __init__(self, directory: Path, *, issuer: str, audience: str, environment: str) -> None:
        """Open or create the key.

        Raises:
            InvalidInput: the environment is production, or the directory cannot be used.
        """
        if environment != "development":
            raise InvalidInput(
                f"SCORES_ENVIRONMENT is '{environment}': development tokens are refused there. "
                "Get tokens from your identity provider and point SCORES_JWKS_FILE to its public keys"
            )
        self._issuer = issuer
        self._audience = audience
        self.jwks_file = directory / JWKS_FILE
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._key = _open_key(directory / KEY_FILE)
            _publish(self._key, self.jwks_file)
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"the token directory '{directory}' cannot be used: {error}; name a directory that you may write to"
            ) from error

    def issue(
        self,
        subject: str,
        grants: Sequence[Grant | GroupGrant],
        lifetime: timedelta,
        *,
        roles: Roles = BUILT_IN_ROLES,
        now: datetime | None = None,
    ) -> str:
        """A signed access token.

        Raises:
            InvalidInput: a role is unknown, an organization is no CDS code, or the lifetime is out of bounds.
        """
        if not timedelta() < lifetime <= LONGEST_LIFETIME:
            raise InvalidInput(f"a lifetime of {lifetime} is out of bounds; expected up to 30 days")
        for grant in grants:
            if grant.role not in roles.permissions:
                raise InvalidInput(
                    f"'{grant.role}' is not a role; expected one of {', '.join(sorted(roles.permissions))}"
                )
            if isinstance(grant, Grant):
                organization_id(grant.organization)
        issued = now or datetime.now(UTC)
        claims = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": subject,
            "client_id": "scores-development",
            "jti": secrets.token_urlsafe(12),
            "iat": int(issued.timestamp()),
            "exp": int((issued + lifetime).timestamp()),
            "scores": claim_of(grants),
        }
        header = {"alg": "Ed25519", "typ": "at+jwt", "kid": _name_of(self._key)}
        return jwt.encode(header, claims, self._key, algorithms=["Ed25519"])


def _open_key(path: Path) -> OKPKey:
    if not path.exists():
        key = OKPKey.generate_key("Ed25519", private=True, auto_kid=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(key.as_dict(private=True), file)
        # A link, unlike a rename, fails when another process was first; then its key is the key.
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, path)
        unfinished.unlink()
    return OKPKey.import_key(json.loads(path.read_bytes()))


def _name_of(key: OKPKey) -> str:
    return DEVELOPMENT_KEY_PREFIX + key.thumbprint()


def _publish(key: OKPKey, path: Path) -> None:
    public = key.as_dict(private=False, use="sig", alg="Ed25519", kid=_name_of(key))
    content = json.dumps({"keys": [public]})
    if path.exists() and path.read_text() == content:
        return
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_text(content)
    unfinished.replace(path)  # a gateway never reads half a file

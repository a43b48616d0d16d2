"""The public keys of one token issuer: what may be one, and a file of them that is read again when it changes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key, KeySet

from schemas.access.file_stamp import FileStamp, stamp_of
from schemas.errors import DependencyUnavailable, InvalidInput

# How the development issuer names its keys, so that no production gateway takes one by mistake.
DEVELOPMENT_KEY_PREFIX: Final = "development-"
_SHORTEST_RSA_BITS: Final = 2_048
_MOST_KEYS: Final = 100  # an issuer publishes two or three; each is tried when a token names none


class KeysAway(DependencyUnavailable):
    """The keys that would tell whether a token is good are not here just now."""


class SigningKeys(Protocol):
    """The keys of one issuer. All calls return at once."""

    def candidates(self, kid: object) -> Sequence[Key]:
        """The keys of that name, or all when there is none: the name is a hint.

        Raises:
            KeysAway: they have not been read yet, or so long ago that a removed key would still verify.
        """

    def may_be_behind(self, kid: object) -> bool:
        """Whether a key of that name may have been published since; then it is being asked for."""

    def absence(self) -> str | None:
        """Why no token can be verified just now; None when it can."""


def parse_keys(content: bytes, *, source: str, production: bool) -> list[Key]:
    """The verification keys of a JWKS document.

    Raises:
        InvalidInput: it is none, or holds a key that must not be believed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # of keys that are refused below
            keys = list(KeySet.import_key_set(json.loads(content)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, JoseError) as error:
        raise InvalidInput(
            f"{source} is not a readable JWKS ({error}); expected the token issuer's public keys, "
            '{"keys": [...]}'
        ) from error
    if len(keys) > _MOST_KEYS:
        raise InvalidInput(f"{source} holds {len(keys)} keys; expected up to {_MOST_KEYS}")
    for key in keys:
        if key.key_type == "oct":
            raise InvalidInput(f"{source} holds a shared secret; expected public keys")
        if isinstance(key.raw_value, RSAPublicKey) and key.raw_value.key_size < _SHORTEST_RSA_BITS:
            raise InvalidInput(
                f"{source} holds an RSA key of {key.raw_value.key_size} bits; expected {_SHORTEST_RSA_BITS} or more"
            )
        if production and str(key.kid).startswith(DEVELOPMENT_KEY_PREFIX):
            raise InvalidInput(
                f"{source} holds a key of the development issuer, whose private half lies in a file; "
                "expected the keys of your identity provider"
            )
    usable = [key for key in keys if key.get("use") in (None, "sig")]
    if not usable:
        raise InvalidInput(f"{source} holds no key for signatures; expected at least one")
    return usable


def named_first(keys: Sequence[Key], kid: object) -> Sequence[Key]:
    """The keys of that name, or all."""
    return [key for key in keys if key.kid == kid] or keys


class KeyFile:
    """A JWKS file; a key that is removed there stops verifying at once."""

    def __init__(self, path: Path, *, setting: str = "SCORES_JWKS_FILE", production: bool = False) -> None:
        self._path = path
        self._source = f"{setting} '{path}'"
        self._production = production
        self._stamp: FileStamp | None = None
        self._keys: list[Key] = []

    def load(self) -> None:
        """Read the file now.

        Raises:
            InvalidInput: it cannot be read, or holds no usable public key.
        """
        try:
            stamp = stamp_of(self._path)
            content = self._path.read_bytes()
        except OSError as error:
            raise InvalidInput(
                f"{self._source} cannot be read ({error}); expected the token issuer's public keys"
            ) from error
        self._keys = parse_keys(content, source=self._source, production=self._production)
        self._stamp = stamp

    def candidates(self, kid: object) -> Sequence[Key]:
        """The keys of that name, or all."""
        try:
            if stamp_of(self._path) != self._stamp:
                self.load()
        except (OSError, InvalidInput):
            if not self._keys:
                raise KeysAway("the issuer's keys cannot be read just now") from None
        return named_first(self._keys, kid)

    def may_be_behind(self, kid: object) -> bool:
        """Never: the file is looked at for every token."""
        return False

    def absence(self) -> str | None:
        """Why no token can be verified just now."""
        return None if self._keys else f"{self._source} has not been read"

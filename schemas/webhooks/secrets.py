"""Signing secrets: how they are written, how they are kept, and which of them are in force.

Two kinds, in the forms of the Standard Webhooks specification:

    v1   HMAC-SHA256  ``whsec_`` and base64 of 24 to 64 bytes; sender and receiver have the same
    v1a  ed25519      ``whsk_`` and base64 of seed and public key, which stays here; ``whpk_``, the public key, is shown

In Redis they are sealed with AES-256-GCM under a key derived from the deployment's ``SCORES_WEBHOOK_KEY``: whoever reads
Redis, or a copy of it, can sign nothing. A sealed secret is bound to its endpoint: moved to another one it opens no more.
"""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec.structs import replace

from schemas.environment import Secret
from schemas.errors import InvalidInput
from schemas.webhooks.endpoints import SealedSecret, SecretKind

_SHARED, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_SHARED_BYTES: Final = range(24, 65)  # the specification's bounds
_SEED_BYTES: Final = 32
_KEY_CHARACTERS: Final = 32  # of SCORES_WEBHOOK_KEY: 128 bits even when they are hexadecimal digits
_NONCE_BYTES: Final = 12
_SEALED_FORMAT: Final = b"\x01"
_NAME_BYTES: Final = 4


class VerifyingKey:
    """What a receiver has: the shared secret, or the public key."""

    __slots__ = ("_public", "_shared", "kind")

    def __init__(self, kind: SecretKind, key: bytes) -> None:
        self.kind = kind
        self._shared = key
        self._public = Ed25519PublicKey.from_public_bytes(key) if kind == "v1a" else None

    def __repr__(self) -> str:
        return f"VerifyingKey({self.kind}, hidden)"

    def fits(self, signature: bytes, content: bytes) -> bool:
        """Whether the signature, of this key's kind, is one of the content."""
        if self._public is None:
            return hmac.compare_digest(hmac.digest(self._shared, content, "sha256"), signature)
        try:
            self._public.verify(signature, content)
        except InvalidSignature:
            return False
        return True


class SigningSecret:
    """What signs. It never shows in a repr, a log or a traceback."""

    __slots__ = ("_key", "_private", "_public", "kind")

    def __init__(self, kind: SecretKind, key: bytes) -> None:
        """``key``: for v1 the shared secret; for v1a the seed. ``new_secret`` and ``signing_secret`` make them."""
        self.kind = kind
        self._key = key
        self._private: Ed25519PrivateKey | None = None
        self._public = key
        if kind == "v1a":
            self._private = Ed25519PrivateKey.from_private_bytes(key)
            self._public = self._private.public_key().public_bytes_raw()

    def __repr__(self) -> str:
        return f"SigningSecret({self.kind}, hidden)"

    @property
    def shown(self) -> str:
        """What the endpoint's owner is shown: of v1 the secret, once; of v1a the public key only."""
        return (_SHARED if self.kind == "v1" else _PUBLIC) + b64encode(self._public).decode()

    @property
    def stored(self) -> str:
        """The secret itself as text, for sealing."""
        if self.kind == "v1":
            return self.shown
        return _PRIVATE + b64encode(self._key + self._public).decode()

    @property
    def verifying(self) -> VerifyingKey:
        """What the receiver checks with."""
        return VerifyingKey(self.kind, self._public)

    def signature(self, content: bytes) -> bytes:
        """The signature of these bytes."""
        if self._private is None:
            return hmac.digest(self._key, content, "sha256")
        return self._private.sign(content)


def new_secret(kind: SecretKind, entropy: bytes) -> SigningSecret:
    """A new secret of 32 random bytes.

    Raises:
        InvalidInput: there are not 32 of them.
    """
    if len(entropy) != _SEED_BYTES:
        raise InvalidInput(f"a new secret needs {_SEED_BYTES} random bytes, not {len(entropy)}")
    return SigningSecret(kind, entropy)


def signing_secret(text: str) -> SigningSecret:
    """The secret that a text is: ``whsec_...`` or ``whsk_...``.

    Raises:
        InvalidInput: it is none. The message does not repeat it.
    """
    if text.startswith(_PRIVATE):
        key = _decoded(text, _PRIVATE)
        secret = SigningSecret("v1a", key[:_SEED_BYTES]) if len(key) >= _SEED_BYTES else None
        # The seed alone is what some libraries write; where the public key follows, it must be the seed's.
        if secret is not None and (len(key) == _SEED_BYTES or secret.stored == text):
            return secret
        raise InvalidInput(
            "a secret whsk_... is base64 of an ed25519 seed, and of the public key that belongs to it"
        )
    return SigningSecret("v1", _shared(text))


def verifying_key(text: str) -> VerifyingKey:
    """The key that a receiver was shown: ``whsec_...`` or ``whpk_...``.

    Raises:
        InvalidInput: it is none. The message does not repeat it.
    """
    if text.startswith(_PUBLIC):
        key = _decoded(text, _PUBLIC)
        if len(key) == _SEED_BYTES:
            return VerifyingKey("v1a", key)
        raise InvalidInput(f"a key whpk_... is base64 of 32 bytes; this one is of {len(key)}")
    return VerifyingKey("v1", _shared(text))


class SecretBox:
    """Seals secrets for keeping, and opens them again.

    Args:
        key: ``SCORES_WEBHOOK_KEY``; what is sealed from now on is sealed with it.
        former: keys before it, with which older secrets still open, so that a deployment can change its key.

    Raises:
        InvalidInput: a key is too short.
    """

    __slots__ = ("_ciphers", "_name")

    def __init__(self, key: Secret, *former: Secret) -> None:
        named = [_derived(one) for one in (key, *former)]
        self._name = named[0][0]
        self._ciphers = dict(reversed(named))

    def seal(self, secret: SigningSecret, *, endpoint: str, nonce: bytes, created_ms: int) -> SealedSecret:
        """The secret as it may be kept.

        Args:
            nonce: 12 random bytes, never used before.
        """
        if len(nonce) != _NONCE_BYTES:
            raise InvalidInput(f"a nonce has {_NONCE_BYTES} random bytes, not {len(nonce)}")
        text = secret.stored.encode()
        closed = self._ciphers[self._name].encrypt(nonce, text, _bound_to(endpoint, secret.kind))
        sealed = _SEALED_FORMAT + self._name + nonce + closed
        return SealedSecret(kind=secret.kind, sealed=sealed, created_ms=created_ms)

    def unseal(self, sealed: SealedSecret, *, endpoint: str) -> SigningSecret:
        """The secret again.

        Raises:
            InvalidInput: it was sealed with another key, or for another endpoint, or is damaged.
        """
        start = len(_SEALED_FORMAT) + _NAME_BYTES
        cipher = self._ciphers.get(sealed.sealed[len(_SEALED_FORMAT) : start])
        if cipher is None or not sealed.sealed.startswith(_SEALED_FORMAT):
            raise InvalidInput(
                f"a secret of the endpoint {endpoint} was sealed with another SCORES_WEBHOOK_KEY; set that one again, or "
                "rotate the endpoint's secret"
            )
        nonce, closed = sealed.sealed[start : start + _NONCE_BYTES], sealed.sealed[start + _NONCE_BYTES :]
        try:
            text = cipher.decrypt(nonce, closed, _bound_to(endpoint, sealed.kind))
        # Too short a nonce or text is a ValueError there.
        except (InvalidTag, ValueError):
            raise InvalidInput(
                f"a secret of the endpoint {endpoint} is damaged, or was made for another endpoint; rotate it"
            ) from None
        return signing_secret(text.decode())


def in_force(secrets: Sequence[SealedSecret], now_ms: int) -> tuple[SealedSecret, ...]:
    """Those that sign now."""
    return tuple(one for one in secrets if one.until_ms is None or one.until_ms > now_ms)


def rotated(
    secrets: Sequence[SealedSecret], successor: SealedSecret, *, now_ms: int, overlap_ms: int
) -> tuple[SealedSecret, ...]:
    """An endpoint's secrets after a rotation: those in force sign on for the overlap beside the new one.

    Where one of them was to end earlier, it still does. Those that have ended are dropped.
    """
    end = now_ms + overlap_ms
    ending = tuple(
        one if one.until_ms is not None and one.until_ms <= end else replace(one, until_ms=end)
        for one in in_force(secrets, now_ms)
    )
    return (*ending, successor) if overlap_ms > 0 else (successor,)


def _shared(text: str) -> bytes:
    if not text.startswith(_SHARED):
        raise InvalidInput("a signing secret begins with whsec_, whsk_ or whpk_; this one does not")
    key = _decoded(text, _SHARED)
    if len(key) not in _SHARED_BYTES:
        raise InvalidInput(f"a secret whsec_... is base64 of 24 to 64 bytes; this one is of {len(key)}")
    return key


def _decoded(text: str, prefix: str) -> bytes:
    try:
        return b64decode(text.removeprefix(prefix), validate=True)
    except ValueError:
        raise InvalidInput(f"what follows {prefix} is not base64") from None


def _derived(key: Secret) -> tuple[bytes, AESGCM]:
    """A key's name, by which what it has sealed is told, and its cipher."""
    given = key.reveal()
    if len(given) < _KEY_CHARACTERS:
        raise InvalidInput(
            f"SCORES_WEBHOOK_KEY has {len(given)} characters; expected at least {_KEY_CHARACTERS}, at random "
            "(openssl rand -hex 32)"
        )
    made = HKDF(SHA256(), _NAME_BYTES + 32, salt=None, info=b"webhook signing secrets").derive(given)
    return made[:_NAME_BYTES], AESGCM(made[_NAME_BYTES:])


def _bound_to(endpoint: str, kind: SecretKind) -> bytes:
    return f"{endpoint} {kind}".encode()

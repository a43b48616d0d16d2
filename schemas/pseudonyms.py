"""The keyed pseudonym that stands for a student wherever an identifier is not needed.

Kafka keys, Redis, logs and metrics carry the pseudonym only. It is a keyed BLAKE2b, not a plain hash: identifiers have
so few digits that anyone could hash them all and read a plain hash like the identifier itself.
"""

from __future__ import annotations

from hashlib import blake2b

from schemas.errors import InvalidInput
from schemas.identifiers import StudentId, StudentKey

# 96 bits: among ten million students the chance that any two share a pseudonym is below one in 10^14.
_DIGEST_BYTES = 12
_SHORTEST_SECRET_BYTES = 16


class Pseudonymizer:
    """Maps student identifiers to pseudonyms under one secret.

    All processes of a deployment need the same secret. Changing it makes every student a stranger: plan a rebuild.
    """

    __slots__ = ("_keyed",)

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _SHORTEST_SECRET_BYTES:
            raise InvalidInput(
                f"SCORES_STUDENT_KEY_SECRET has {len(secret)} bytes; expected at least {_SHORTEST_SECRET_BYTES} random ones"
            )
        # BLAKE2b takes at most 64 bytes of key. Copied for each student: setting a key up costs as much as hashing.
        self._keyed = blake2b(digest_size=_DIGEST_BYTES, key=secret[:64])

    def __repr__(self) -> str:
        return "Pseudonymizer(secret hidden)"

    def student_key(self, student: StudentId) -> StudentKey:
        """The pseudonym: 24 hexadecimal digits, the same for the same identifier."""
        return StudentKey(self.student_digest(student).hex())

    def student_digest(self, student: StudentId) -> bytes:
        """The pseudonym's 12 bytes."""
        digest = self._keyed.copy()
        digest.update(student.encode())
        return digest.digest()

"""Making secrets for endpoints: sealed for keeping, and in the one answer that shows them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from gateway.webhooks.answers import IssuedSecret
from schemas.environment import Secret
from schemas.errors import InvalidInput, ScoreStreamError
from schemas.webhooks.endpoints import SealedSecret, SecretKind
from schemas.webhooks.secrets import SecretBox, in_force, new_secret, rotated

_SECRET_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MOST_IN_FORCE: Final = 6  # each signs every message, and the header grows by 100 bytes


class TooManySecrets(ScoreStreamError):
    """So many secrets sign already that another has to wait."""

    def __init__(self) -> None:
        super().__init__(
            f"An endpoint has at most {_MOST_IN_FORCE} secrets that sign at once. Wait until those of before have ended, or "
            'end them with {"at_once": true}.'
        )


class SecretKeeper:
    """Makes secrets; it cannot show them again."""

    def __init__(self, key: Secret, *, overlap_seconds: float) -> None:
        self._box = SecretBox(key)
        self._overlap_ms = int(overlap_seconds * 1000)

    def issue(
        self, endpoint_id: str, kinds: Sequence[SecretKind], now_ms: int
    ) -> tuple[tuple[SealedSecret, ...], tuple[IssuedSecret, ...]]:
        """New secrets of these kinds, as they are kept and as they are shown.

        Raises:
            InvalidInput: a kind is named twice.
        """
        if len(set(kinds)) < len(kinds):
            raise InvalidInput("signing names a kind twice; name v1, v1a or both")
        made = [new_secret(kind, secrets.token_bytes(_SECRET_BYTES)) for kind in kinds]
        sealed = tuple(
            self._box.seal(
                one, endpoint=endpoint_id, nonce=secrets.token_bytes(_NONCE_BYTES), created_ms=now_ms
            )
            for one in made
        )
        return sealed, tuple(IssuedSecret(one.kind, one.shown) for one in made)

    def succeeded(
        self,
        before: Sequence[SealedSecret],
        after: Sequence[SealedSecret],
        now_ms: int,
        *,
        at_once: bool = False,
    ) -> tuple[SealedSecret, ...]:
        """What signs from now on: the new ones, and for a while those of before.

        Raises:
            TooManySecrets: those of before are too many.
        """
        overlap_ms = 0 if at_once else self._overlap_ms
        first, *others = after
        kept = (*rotated(before, first, now_ms=now_ms, overlap_ms=overlap_ms), *others)
        if len(in_force(kept, now_ms)) > _MOST_IN_FORCE:
            raise TooManySecrets
        return kept

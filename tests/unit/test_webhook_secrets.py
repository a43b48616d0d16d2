"""Signing secrets: shown once, kept sealed, bound to their endpoint, rotated with an overlap."""

from __future__ import annotations

import msgspec
import pytest

from schemas.environment import Secret
from schemas.errors import InvalidInput
from schemas.webhooks.endpoints import SealedSecret
from schemas.webhooks.secrets import SecretBox, SigningSecret, in_force, new_secret, rotated

KEY = Secret(b"0123456789abcdef0123456789abcdef")
OTHER_KEY = Secret(b"fedcba9876543210fedcba9876543210")
SHARED = new_secret("v1", bytes(range(32)))
PAIR = new_secret("v1a", bytes(range(32, 64)))
DAY_MS = 86_400_000
NOW_MS = 1_777_896_000_000


def kept(secret: SigningSecret, key: Secret = KEY, endpoint: str = "ep_1") -> SealedSecret:
    return SecretBox(key).seal(secret, endpoint=endpoint, nonce=bytes(12), created_ms=NOW_MS)


def dated(created_ms: int, until_ms: int | None = None) -> SealedSecret:
    return SealedSecret(kind="v1", sealed=b"", created_ms=created_ms, until_ms=until_ms)


@pytest.mark.parametrize("secret", [SHARED, PAIR], ids=["v1", "v1a"])
def test_a_sealed_secret_signs_as_before(secret: SigningSecret) -> None:
    again = SecretBox(KEY).unseal(kept(secret), endpoint="ep_1")
    assert (again.kind, again.stored) == (secret.kind, secret.stored)
    assert again.signature(b"scores") == secret.signature(b"scores")


@pytest.mark.parametrize("secret", [SHARED, PAIR], ids=["v1", "v1a"])
def test_neither_what_is_kept_nor_a_repr_shows_a_secret(secret: SigningSecret) -> None:
    stored = msgspec.json.encode(kept(secret))
    assert secret.stored.encode() not in stored
    assert secret.stored[10:30] not in repr(secret) + repr(kept(secret)) + repr(secret.verifying)


def test_of_a_key_pair_only_the_public_key_is_shown() -> None:
    assert PAIR.shown.startswith("whpk_")
    assert PAIR.stored.startswith("whsk_")
    assert PAIR.shown.removeprefix("whpk_")[:20] not in PAIR.stored[:30]


def test_a_secret_of_another_endpoint_does_not_open() -> None:
    with pytest.raises(InvalidInput, match="ep_2"):
        SecretBox(KEY).unseal(kept(SHARED, endpoint="ep_1"), endpoint="ep_2")


def test_a_secret_that_claims_another_kind_does_not_open() -> None:
    claimed = msgspec.structs.replace(kept(SHARED), kind="v1a")
    with pytest.raises(InvalidInput):
        SecretBox(KEY).unseal(claimed, endpoint="ep_1")


def test_another_key_is_named_as_the_reason() -> None:
    with pytest.raises(InvalidInput, match="SCORES_WEBHOOK_KEY"):
        SecretBox(OTHER_KEY).unseal(kept(SHARED), endpoint="ep_1")


def test_a_deployment_changes_its_key_and_still_opens_older_secrets() -> None:
    box = SecretBox(OTHER_KEY, KEY)
    assert box.unseal(kept(SHARED), endpoint="ep_1").stored == SHARED.stored
    new = box.seal(SHARED, endpoint="ep_1", nonce=bytes(12), created_ms=NOW_MS)
    assert SecretBox(OTHER_KEY).unseal(new, endpoint="ep_1").stored == SHARED.stored


@pytest.mark.parametrize("cut", [0, 1, 5, 10, 17, 30, -1])
def test_a_damaged_secret_does_not_open(cut: int) -> None:
    damaged = msgspec.structs.replace(kept(SHARED), sealed=kept(SHARED).sealed[:cut])
    with pytest.raises(InvalidInput):
        SecretBox(KEY).unseal(damaged, endpoint="ep_1")


def test_a_short_key_is_refused() -> None:
    with pytest.raises(InvalidInput, match="31 characters"):
        SecretBox(Secret(b"x" * 31))
    with pytest.raises(InvalidInput, match="SCORES_WEBHOOK_KEY"):
        SecretBox(KEY, Secret(b""))


def test_too_little_randomness_is_refused() -> None:
    with pytest.raises(InvalidInput, match="32 random bytes"):
        new_secret("v1", bytes(16))
    with pytest.raises(InvalidInput, match="12 random bytes"):
        SecretBox(KEY).seal(SHARED, endpoint="ep_1", nonce=b"", created_ms=0)


def test_the_old_secret_signs_for_a_day_beside_the_new_one() -> None:
    old, new = dated(1), dated(NOW_MS)
    both = rotated((old,), new, now_ms=NOW_MS, overlap_ms=DAY_MS)
    assert both == (dated(1, NOW_MS + DAY_MS), new)
    assert in_force(both, NOW_MS + DAY_MS - 1) == both
    assert in_force(both, NOW_MS + DAY_MS) == (new,)


def test_two_rotations_in_a_day_prolong_nothing() -> None:
    first = rotated((dated(1),), dated(2), now_ms=NOW_MS, overlap_ms=DAY_MS)
    second = rotated(first, dated(3), now_ms=NOW_MS + 1_000, overlap_ms=DAY_MS)
    assert second == (dated(1, NOW_MS + DAY_MS), dated(2, NOW_MS + 1_000 + DAY_MS), dated(3))


def test_what_has_ended_is_dropped_at_the_next_rotation() -> None:
    assert rotated((dated(1, NOW_MS), dated(2)), dated(3), now_ms=NOW_MS, overlap_ms=DAY_MS) == (
        dated(2, NOW_MS + DAY_MS),
        dated(3),
    )


def test_a_secret_that_leaked_ends_at_once() -> None:
    assert rotated((dated(1),), dated(2), now_ms=NOW_MS, overlap_ms=0) == (dated(2),)

"""Signatures of webhooks: the published vectors, what receivers must accept, and all that they must refuse."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InvalidInput
from schemas.webhooks.secrets import SigningSecret, new_secret, signing_secret, verifying_key
from schemas.webhooks.signing import NotVerified, sign, signed_headers, verify

# The vectors of the Standard Webhooks libraries; that of v1a is in the one for Go, whose private key is the seed alone.
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
VECTOR_TIME = 1614265330
VECTOR_BODY = b'{"test": 2432232314}'
VECTORS = {
    "v1": ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    "v1a": (
        "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk=",
        "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag==",
    ),
}

SHARED = new_secret("v1", bytes(range(32)))
PAIR = new_secret("v1a", bytes(range(32, 64)))
BODY = '{"type":"endpoint.ping","data":{"endpoint":"ep_cañon"}}'.encode()
NOW = 1_777_896_000


def sent(*secrets: SigningSecret, body: bytes = BODY) -> dict[str, str]:
    return signed_headers(secrets, "msg_1", NOW, body, version="0.1.0")


@pytest.mark.parametrize("kind", VECTORS)
def test_the_published_vectors_come_out_to_the_letter(kind: str) -> None:
    text, signature = VECTORS[kind]
    secret = signing_secret(text)
    assert sign([secret], VECTOR_ID, VECTOR_TIME, VECTOR_BODY) == signature
    headers = {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": str(VECTOR_TIME),
        "webhook-signature": signature,
    }
    assert verify([secret.verifying], headers, VECTOR_BODY, now=VECTOR_TIME) == VECTOR_ID


@pytest.mark.parametrize("secret", [SHARED, PAIR], ids=["v1", "v1a"])
def test_what_the_owner_was_shown_verifies_what_is_sent(secret: SigningSecret) -> None:
    headers = {name.upper(): value for name, value in sent(secret).items()}
    assert verify([verifying_key(secret.shown)], headers, BODY, now=NOW + 1.5) == "msg_1"


def test_a_message_carries_a_signature_for_each_secret_in_force() -> None:
    headers = sent(SHARED, PAIR)
    assert [entry.partition(",")[0] for entry in headers["webhook-signature"].split(" ")] == ["v1", "v1a"]
    for secret in (SHARED, PAIR):
        assert verify([secret.verifying], headers, BODY, now=NOW) == "msg_1"


def test_nothing_is_ever_sent_unsigned() -> None:
    with pytest.raises(InvalidInput, match="rotate"):
        sign([], "msg_1", NOW, BODY)


def test_an_attempt_says_what_it_is_and_who_sends_it() -> None:
    headers = sent(SHARED)
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["User-Agent"] == "score-streaming-webhooks/0.1.0"
    assert headers["webhook-timestamp"] == str(NOW)


@pytest.mark.parametrize("secret", [SHARED, PAIR], ids=["v1", "v1a"])
@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-id": f"msg_1.{NOW}"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1a,"},
        {"webhook-signature": "v1,AAAA v1a,AAAA v2,AAAA nonsense ,, v1"},
    ],
    ids=str,
)
def test_a_tampered_header_is_refused(secret: SigningSecret, change: dict[str, str]) -> None:
    with pytest.raises(NotVerified):
        verify([secret.verifying], sent(secret) | change, BODY, now=NOW)


@given(at=st.integers(0, len(BODY) - 1), bit=st.integers(0, 7))
def test_one_bit_of_the_body_changed_is_refused(at: int, bit: int) -> None:
    tampered = bytearray(BODY)
    tampered[at] ^= 1 << bit
    headers = sent(SHARED, PAIR)
    with pytest.raises(NotVerified):
        verify([SHARED.verifying, PAIR.verifying], headers, bytes(tampered), now=NOW)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(header: str) -> None:
    headers = sent(SHARED)
    del headers[header]
    with pytest.raises(NotVerified, match=header):
        verify([SHARED.verifying], headers, BODY, now=NOW)


@pytest.mark.parametrize(("late", "word"), [(301, "ago"), (-301, "ahead")])
def test_a_replay_of_more_than_five_minutes_is_refused(late: int, word: str) -> None:
    with pytest.raises(NotVerified, match=f"301 s {word}"):
        verify([SHARED.verifying], sent(SHARED), BODY, now=NOW + late)


def test_five_minutes_are_allowed() -> None:
    for late in (300, -300):
        assert verify([SHARED.verifying], sent(SHARED), BODY, now=NOW + late) == "msg_1"


@pytest.mark.parametrize(
    "timestamp", ["", "now", "-1", "1e9", "９９", "1" * 5_000, "1777896000.5", " 1777896000"]
)
def test_a_timestamp_that_is_none_is_refused(timestamp: str) -> None:
    with pytest.raises(NotVerified, match="webhook-timestamp"):
        verify([SHARED.verifying], sent(SHARED) | {"webhook-timestamp": timestamp}, BODY, now=NOW)


def test_another_endpoints_secret_does_not_verify() -> None:
    other = new_secret("v1", bytes(32)), new_secret("v1a", bytes(32))
    with pytest.raises(NotVerified, match="no signature fits"):
        verify([one.verifying for one in other], sent(SHARED, PAIR), BODY, now=NOW)


def test_a_public_key_is_no_shared_secret() -> None:
    """Whoever knows the public key could else sign with it what a receiver would take."""
    public = PAIR.shown.removeprefix("whpk_")
    forged = sign([signing_secret("whsec_" + public)], "msg_1", NOW, BODY)
    for header in (forged, forged.replace("v1,", "v1a,")):
        with pytest.raises(NotVerified):
            verify([PAIR.verifying], sent(PAIR) | {"webhook-signature": header}, BODY, now=NOW)


def test_a_header_of_many_signatures_is_not_read_to_its_end() -> None:
    good = sent(SHARED)["webhook-signature"]
    with pytest.raises(NotVerified):
        verify(
            [SHARED.verifying], sent(SHARED) | {"webhook-signature": "v1,AAAA " * 16 + good}, BODY, now=NOW
        )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + b64encode(bytes(23)).decode(),
        "whsec_" + b64encode(bytes(65)).decode(),
        "whsec_%%% of no base64",
        "whsk_" + b64encode(bytes(31)).decode(),
        "whsk_" + b64encode(bytes(range(32)) + bytes(32)).decode(),
        "whsk_" + b64encode(bytes(65)).decode(),
        PAIR.shown,
    ],
    ids=lambda text: text[:14] or "nothing",
)
def test_a_text_that_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        signing_secret(text)
    assert len(text) < 10 or text[6:] not in str(refused.value)


@pytest.mark.parametrize("text", ["whpk_", "whpk_" + b64encode(bytes(31)).decode(), PAIR.stored])
def test_a_text_that_is_no_verifying_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        verifying_key(text)


@pytest.mark.parametrize("length", [24, 64])
def test_shared_secrets_of_the_specifications_lengths_are_taken(length: int) -> None:
    text = "whsec_" + b64encode(bytes(length)).decode()
    assert signing_secret(text).stored == signing_secret(text).shown == text

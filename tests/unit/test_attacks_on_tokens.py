"""Tokens as somebody would make them who has none: each is refused, and none says anything of what it would have opened."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from gateway.signing_keys import named_first
from gateway.tokens import TokenRefused, TokenVerifier, TrustedIssuer
from schemas.access.roles import READER_ROLE

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
AUDIENCE = "score-streaming"
STATE_LOGIN, COUNTY_LOGIN = "https://login.state.example/", "https://login.county.example/"
ED = OKPKey.generate_key("Ed25519", parameters={"kid": "state-ed"})
EC = ECKey.generate_key("P-256", parameters={"kid": "state-ec"})
RSA = RSAKey.generate_key(2048, parameters={"kid": "state-rsa"})
COUNTY_KEY = OKPKey.generate_key("Ed25519", parameters={"kid": "county-ed"})
STRANGER = OKPKey.generate_key("Ed25519", parameters={"kid": "state-ed"})


class Held:
    """Keys in memory."""

    def __init__(self, *keys: Key) -> None:
        self._keys = keys

    def candidates(self, kid: object) -> list[Key]:
        return list(named_first(self._keys, kid))

    def may_be_behind(self, kid: object) -> bool:
        return False

    def absence(self) -> str | None:
        return None


VERIFIER = TokenVerifier(
    [
        TrustedIssuer(STATE_LOGIN, AUDIENCE, Held(ED, EC, RSA)),
        TrustedIssuer(COUNTY_LOGIN, AUDIENCE, Held(COUNTY_KEY), ("Ed25519",)),
    ],
    clock=lambda: NOW,
)


def claims(**changes: Any) -> dict[str, Any]:
    made = {
        "iss": STATE_LOGIN,
        "aud": AUDIENCE,
        "sub": "ana@example.test",
        "jti": "t1",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 600,
        "scores": {"grants": [{"role": READER_ROLE, "org": "19990010000000"}]},
    }
    return made | changes


def encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def part(value: dict[str, Any]) -> str:
    return encoded(json.dumps(value).encode())


def signed(
    key: Any = ED, algorithm: str = "Ed25519", header: dict[str, Any] | None = None, **changes: Any
) -> str:
    head = {"alg": algorithm, "typ": "at+jwt", "kid": key.kid} | (header or {})
    return jwt.encode(head, claims(**changes), key, algorithms=[algorithm])


def keyed_hash(secret: bytes, kid: str) -> str:
    """A token that takes a public key for a shared secret."""
    body = f"{part({'alg': 'HS256', 'typ': 'at+jwt', 'kid': kid})}.{part(claims())}"
    return f"{body}.{encoded(hmac.digest(secret, body.encode(), 'sha256'))}"


def by_hand(header: dict[str, Any]) -> str:
    """A token that the issuer has signed, with a header that no library makes."""
    body = f"{part({'alg': 'Ed25519', 'typ': 'at+jwt', 'kid': 'state-ed'} | header)}.{part(claims())}"
    private = ED.private_key
    assert isinstance(private, Ed25519PrivateKey)
    return f"{body}.{encoded(private.sign(body.encode()))}"


def relabelled(token: str, **header: Any) -> str:
    """The same claims and signature under another header."""
    head, body, signature = token.split(".")
    told = json.loads(base64.urlsafe_b64decode(head + "=="))
    return f"{part(told | header)}.{body}.{signature}"


def with_claims(token: str, **changes: Any) -> str:
    """The same header and signature over other claims."""
    head, _, signature = token.split(".")
    return f"{head}.{part(claims(**changes))}.{signature}"


@pytest.mark.parametrize(
    "token", [signed(), signed(EC, "ES256"), signed(RSA, "RS256")], ids=["Ed", "EC", "RSA"]
)
def test_the_issuers_own_tokens_are_taken(token: str) -> None:
    principal = VERIFIER.verify(token)
    assert (principal.subject, principal.issuer) == ("ana@example.test", STATE_LOGIN)


UNSIGNED = f".{part(claims())}."
ATTACKS = {
    "without an algorithm": (part({"alg": "none", "typ": "at+jwt"}) + UNSIGNED, "signature"),
    "without one, spelled otherwise": (part({"alg": "nOnE", "typ": "at+jwt"}) + UNSIGNED, "signature"),
    "of none, with a signature": (relabelled(signed(), alg="none"), "signature"),
    "of a number": (relabelled(signed(), alg=7), "signature"),
    "of several algorithms": (relabelled(signed(), alg=["Ed25519", "none"]), "signature"),
    "of another key by the same name": (signed(STRANGER), "signature"),
    "RSA's public key as a secret, PEM": (keyed_hash(RSA.as_pem(private=False), "state-rsa"), "signature"),
    "RSA's public key as a secret, DER": (keyed_hash(RSA.as_der(private=False), "state-rsa"), "signature"),
    "Ed25519's public key as a secret": (
        keyed_hash(base64.urlsafe_b64decode(str(ED.as_dict(private=False)["x"]) + "=="), "state-ed"),
        "signature",
    ),
    "EC's public key as a secret": (keyed_hash(EC.as_pem(private=False), "state-ec"), "signature"),
    "an RSA signature called ES256": (relabelled(signed(RSA, "RS256"), alg="ES256", kid="state-ec"), "signature"),
    "an EC signature called RS256": (relabelled(signed(EC, "ES256"), alg="RS256", kid="state-rsa"), "signature"),
    "an EC signature of the RSA key's name": (relabelled(signed(EC, "ES256"), kid="state-rsa"), "signature"),
    "an EC signature of zeros": (
        f"{part({'alg': 'ES256', 'typ': 'at+jwt', 'kid': 'state-ec'})}.{part(claims())}.{encoded(bytes(64))}",
        "signature",
    ),
    "a key in the token": (
        signed(STRANGER, header={"jwk": STRANGER.as_dict(private=False)}),
        "signature",
    ),
    "a key at an address": (signed(STRANGER, header={"jku": "https://evil.example/keys"}), "signature"),
    "a certificate at an address": (signed(STRANGER, header={"x5u": "https://evil.example/c"}), "signature"),
    "a certificate in the token": (signed(STRANGER, header={"x5c": ["MIIB"]}), "signature"),
    "a path for the name of its key": (signed(STRANGER, header={"kid": "../../dev/null"}), "signature"),
    "of another issuer's key": (signed(COUNTY_KEY), "signature"),
    "of another issuer's key by the right name": (signed(COUNTY_KEY, header={"kid": "state-ed"}), "signature"),
    "in another issuer's name": (signed(ED, iss=COUNTY_LOGIN), "signature"),
    "of an algorithm that only the other issuer may use": (signed(EC, "ES256", iss=COUNTY_LOGIN), "signature"),
    "of an issuer nobody knows": (signed(iss="https://login.evil.example/"), "issuer"),
    "of an issuer without its last stroke": (signed(iss=STATE_LOGIN.rstrip("/")), "issuer"),
    "of two issuers": (signed(iss=[STATE_LOGIN, COUNTY_LOGIN]), "malformed"),
    "for another service": (signed(aud="grades"), "audience"),
    "for our service's longer name": (signed(aud="score-streaming-2"), "audience"),
    "expired": (signed(exp=int(NOW.timestamp()) - 1), "expired"),
    "of yesterday, prolonged": (with_claims(signed(exp=1), exp=9_999_999_999), "signature"),
    "with more granted than was signed": (
        with_claims(signed(), scores={"grants": [{"role": READER_ROLE, "org": "0" * 14}]}),
        "signature",
    ),
    "with a header of its own": (relabelled(signed(), kid="state-ec"), "signature"),
    "that demands what nobody understands": (by_hand({"crit": ["scores"], "scores": 1}), "signature"),
    "signed over what is not encoded": (by_hand({"crit": ["b64"], "b64": False}), "malformed"),
    "an identity token": (signed(header={"typ": "JWT"}), "type"),
    "an identity token in capitals": (signed(header={"typ": "ID+JWT"}), "type"),
    "a role that is a list": (signed(scores={"grants": [{"role": ["PII"], "org": "0" * 14}]}), "malformed"),
    "an organization that is none": (signed(scores={"grants": [{"role": "PII", "org": "*"}]}), "malformed"),
    "a chain that is none": (signed(tenancy=7), "malformed"),
    "an end that is no number": (signed(exp="9999999999"), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize(("token", "reason"), ATTACKS.values(), ids=ATTACKS.keys())
def test_a_forged_token_is_refused(token: str, reason: str) -> None:
    with pytest.raises(TokenRefused) as caught:
        VERIFIER.verify(token)
    assert caught.value.reason == reason
    said = str(caught.value)
    assert "ana@example.test" not in said and "19990010000000" not in said
    assert not any(piece and piece in said for piece in token.split("."))


def test_a_token_with_any_bit_changed_is_refused() -> None:
    token = signed()
    head, body, signature = token.split(".")
    for place in range(0, len(signature) - 2, 7):  # the last characters have bits that mean nothing
        changed = "A" if signature[place] != "A" else "B"
        with pytest.raises(TokenRefused):
            VERIFIER.verify(f"{head}.{body}.{signature[:place]}{changed}{signature[place + 1 :]}")
    for place in range(0, len(body), 7):
        changed = "A" if body[place] != "A" else "B"
        with pytest.raises(TokenRefused):
            VERIFIER.verify(f"{head}.{body[:place]}{changed}{body[place + 1 :]}.{signature}")


def test_the_county_speaks_for_itself_only() -> None:
    assert VERIFIER.verify(signed(COUNTY_KEY, iss=COUNTY_LOGIN)).issuer == COUNTY_LOGIN

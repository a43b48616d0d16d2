"""Which tokens open something: the issuer's, for us, not expired, of an algorithm that we chose."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, OKPKey, RSAKey

from gateway.development_issuer import DevelopmentIssuer
from gateway.signing_keys import KeyFile
from gateway.tokens import ALGORITHMS, LONGEST_LIFE, TokenRefused, TokenVerifier, TrustedIssuer
from schemas.access.permissions import Grant, Permission
from schemas.access.roles import READER_ROLE
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId

ISSUER = "https://issuer.example.test/"
AUDIENCE = "score-streaming"
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DISTRICT = OrganizationId("19990010000000")
KEY = OKPKey.generate_key("Ed25519", auto_kid=True)


def claims(**changes: Any) -> dict[str, Any]:
    made = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ana@example.test",
        "jti": "t1",
        "iat": int(NOW.timestamp()),
        "exp": int(NOW.timestamp()) + 600,
        "scores": {"grants": [{"role": READER_ROLE, "org": DISTRICT}]},
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def signed(
    key: Any = KEY, *, algorithm: str = "Ed25519", header: dict[str, Any] | None = None, **changes: Any
) -> str:
    head = {"alg": algorithm, "typ": "at+jwt", "kid": key.kid} | (header or {})
    return jwt.encode(head, claims(**changes), key, algorithms=[algorithm])


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def reading(file: Path, algorithms: tuple[str, ...] = ALGORITHMS) -> TokenVerifier:
    """A verifier of one issuer, whose keys are in a file."""
    keys = KeyFile(file)
    keys.load()
    return TokenVerifier([TrustedIssuer(ISSUER, AUDIENCE, keys, algorithms)], clock=lambda: NOW)


@pytest.fixture
def verifier_for(tmp_path: Path) -> Callable[..., TokenVerifier]:
    def make(*keys: Any, algorithms: tuple[str, ...] = ALGORITHMS) -> TokenVerifier:
        file = tmp_path / "jwks.json"
        file.write_text(json.dumps(KeySet(list(keys or (KEY,))).as_dict(private=False)))
        return reading(file, algorithms)

    return make


def refusal(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(TokenRefused) as caught:
        verifier.verify(token)
    assert token[:30] not in str(caught.value) or len(token) < 30
    return caught.value.reason


def test_a_token_says_who_asks_what_is_granted_and_until_when(
    verifier_for: Callable[..., TokenVerifier],
) -> None:
    principal = verifier_for().verify(signed())
    assert principal.subject == "ana@example.test"
    assert principal.grants == (Grant(READER_ROLE, DISTRICT),)
    assert principal.expires == NOW + timedelta(minutes=10)
    assert not principal.rights.covers(Permission.DATA_WRITE, DISTRICT)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        pytest.param({"exp": int(NOW.timestamp())}, "expired", id="expired this second"),
        pytest.param({"exp": None}, "malformed", id="without an end"),
        pytest.param({"exp": "tomorrow"}, "malformed", id="with an end in words"),
        pytest.param({"iss": "https://elsewhere.example.test/"}, "issuer", id="from elsewhere"),
        pytest.param({"iss": None}, "malformed", id="from nobody"),
        pytest.param({"aud": "another-service"}, "audience", id="for another service"),
        pytest.param({"aud": ["one", "two"]}, "audience", id="for other services"),
        pytest.param({"aud": None}, "malformed", id="for nobody"),
        pytest.param({"sub": None}, "malformed", id="of nobody"),
        pytest.param({"jti": None}, "malformed", id="without a name"),
        pytest.param({"iat": None}, "malformed", id="issued nobody knows when"),
        pytest.param({"nbf": int(NOW.timestamp()) + 60}, "early", id="not valid yet"),
        pytest.param({"scores": {"grants": "all"}}, "malformed", id="with grants that are none"),
        pytest.param({"scores": {"grants": [{"role": READER_ROLE}]}}, "malformed", id="granted nowhere"),
    ],
)
def test_a_token_is_refused_when_it_is(
    verifier_for: Callable[..., TokenVerifier], changes: dict[str, Any], reason: str
) -> None:
    assert refusal(verifier_for(), signed(**changes)) == reason


def test_a_token_for_several_services_opens_ours(verifier_for: Callable[..., TokenVerifier]) -> None:
    assert verifier_for().verify(signed(aud=["another-service", AUDIENCE])).token_id == "t1"


def test_a_token_that_never_ends_ends_for_us_when_its_revocation_would_be_forgotten(
    verifier_for: Callable[..., TokenVerifier],
) -> None:
    assert verifier_for().verify(signed(exp=9e15)).expires == NOW + LONGEST_LIFE
    issued = int((NOW - LONGEST_LIFE).timestamp())
    assert refusal(verifier_for(), signed(iat=issued, exp=9e15)) == "expired"
    assert refusal(verifier_for(), signed(iat=9e15, exp=9e16)) == "early"


def test_a_token_without_our_claim_opens_nothing_and_is_valid(
    verifier_for: Callable[..., TokenVerifier],
) -> None:
    assert verifier_for().verify(signed(scores=None)).grants == ()


def test_an_identity_token_is_no_access_token(verifier_for: Callable[..., TokenVerifier]) -> None:
    assert refusal(verifier_for(), signed(header={"typ": "JWT"})) == "type"


def test_a_token_signed_by_another_key_of_the_same_name_is_refused(
    verifier_for: Callable[..., TokenVerifier],
) -> None:
    stranger = OKPKey.generate_key("Ed25519", parameters={"kid": KEY.kid or ""})
    assert refusal(verifier_for(), signed(stranger)) == "signature"


def test_a_key_that_the_token_brings_along_is_ignored(verifier_for: Callable[..., TokenVerifier]) -> None:
    stranger = OKPKey.generate_key("Ed25519", auto_kid=True)
    brought = {"jwk": stranger.as_dict(private=False), "jku": "https://evil.example.test/jwks.json"}
    assert refusal(verifier_for(), signed(stranger, header=brought)) == "signature"


def test_a_token_without_a_signature_is_refused(verifier_for: Callable[..., TokenVerifier]) -> None:
    assert (
        refusal(verifier_for(), f"{part({'alg': 'none', 'typ': 'at+jwt'})}.{part(claims())}.") == "signature"
    )


def test_the_public_key_does_not_serve_as_a_shared_secret(verifier_for: Callable[..., TokenVerifier]) -> None:
    key = RSAKey.generate_key(2048, auto_kid=True)
    signed_part = f"{part({'alg': 'HS256', 'typ': 'at+jwt', 'kid': key.kid})}.{part(claims())}"
    digest = hmac.digest(key.as_pem(private=False), signed_part.encode(), "sha256")
    forged = f"{signed_part}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    assert refusal(verifier_for(key), forged) == "signature"


@pytest.mark.parametrize(
    ("algorithm", "make"),
    [
        ("Ed25519", lambda: OKPKey.generate_key("Ed25519", auto_kid=True)),
        ("ES256", lambda: ECKey.generate_key("P-256", auto_kid=True)),
        ("RS256", lambda: RSAKey.generate_key(2048, auto_kid=True)),
    ],
)
def test_each_algorithm_of_ours_verifies_and_only_when_it_is_chosen(
    verifier_for: Callable[..., TokenVerifier], algorithm: str, make: Callable[[], Any]
) -> None:
    key = make()
    token = signed(key, algorithm=algorithm)
    assert verifier_for(key).verify(token).token_id == "t1"
    others = tuple(name for name in ("Ed25519", "ES256", "RS256") if name != algorithm)
    assert refusal(verifier_for(key, algorithms=others), token) == "signature"


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # issued here as an identity provider would
def test_tokens_of_issuers_that_still_say_eddsa_verify(verifier_for: Callable[..., TokenVerifier]) -> None:
    assert verifier_for().verify(signed(algorithm="EdDSA")).token_id == "t1"


def test_the_key_id_is_a_hint_only(verifier_for: Callable[..., TokenVerifier]) -> None:
    other = OKPKey.generate_key("Ed25519", auto_kid=True)
    assert verifier_for(other, KEY).verify(signed(header={"kid": "unheard of"})).token_id == "t1"


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "a.b.c.d.e", "é.é.é", "." * 9000, "x" * 9000])
def test_what_is_no_token_is_refused(verifier_for: Callable[..., TokenVerifier], token: str) -> None:
    assert refusal(verifier_for(), token) == "malformed"


def test_a_removed_key_stops_verifying_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    verifier = reading(file)
    token = signed()
    verifier.verify(token)
    file.write_text(json.dumps({"keys": [OKPKey.generate_key("Ed25519").as_dict(private=False)]}))
    assert refusal(verifier, token) == "signature"


def test_a_key_file_that_is_gone_for_a_moment_does_not_lock_everybody_out(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps(KeySet([KEY]).as_dict(private=False)))
    verifier = reading(file)
    file.unlink()
    assert verifier.verify(signed()).token_id == "t1"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "OKP"}]}'])
def test_a_key_file_without_keys_is_named_with_its_setting(tmp_path: Path, content: str) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(content)
    with pytest.raises(InvalidInput, match="SCORES_JWKS_FILE"):
        KeyFile(file).load()


def test_a_shared_secret_is_no_public_key(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [OctKey.generate_key(256).as_dict()]}))
    with pytest.raises(InvalidInput, match="shared secret"):
        KeyFile(file).load()


class TestDevelopmentIssuer:
    def make(self, folder: Path, environment: str = "development") -> DevelopmentIssuer:
        return DevelopmentIssuer(folder, issuer=ISSUER, audience=AUDIENCE, environment=environment)

    def test_its_tokens_verify_with_the_keys_that_it_publishes(self, tmp_path: Path) -> None:
        issuer = self.make(tmp_path)
        grants = [Grant(READER_ROLE, DISTRICT)]
        token = issuer.issue("ana@example.test", grants, timedelta(minutes=5), now=NOW)
        verifier = reading(issuer.jwks_file)
        assert verifier.verify(token).grants == tuple(grants)

    def test_it_keeps_its_key_and_keeps_it_private(self, tmp_path: Path) -> None:
        published = self.make(tmp_path / "keys").jwks_file.read_text()
        assert self.make(tmp_path / "keys").jwks_file.read_text() == published
        assert (tmp_path / "keys" / "signing-key.jwk").stat().st_mode & 0o777 == 0o600
        assert '"d"' not in published
        assert sorted(file.name for file in (tmp_path / "keys").iterdir()) == ["jwks.json", "signing-key.jwk"]

    def test_it_refuses_production(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="SCORES_ENVIRONMENT"):
            self.make(tmp_path, "production")
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("grant", "lifetime", "named"),
        [
            (Grant("HEADMASTER", DISTRICT), timedelta(hours=1), "HEADMASTER"),
            (Grant(READER_ROLE, OrganizationId("1999")), timedelta(hours=1), "1999"),
            (Grant(READER_ROLE, DISTRICT), timedelta(), "lifetime"),
            (Grant(READER_ROLE, DISTRICT), timedelta(days=31), "lifetime"),
        ],
    )
    def test_it_names_what_it_cannot_put_into_a_token(
        self, tmp_path: Path, grant: Grant, lifetime: timedelta, named: str
    ) -> None:
        with pytest.raises(InvalidInput, match=named):
            self.make(tmp_path).issue("ana@example.test", [grant], lifetime)

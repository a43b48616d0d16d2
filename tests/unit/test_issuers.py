"""Whose tokens are believed, as settings say it; and that development stays out of production."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from joserfc.jwk import KeySet, OKPKey, RSAKey

from gateway.development_issuer import DevelopmentIssuer
from gateway.fetched_keys import RefreshTimes
from gateway.issuers import (
    DEVELOPMENT_AUDIENCE,
    DEVELOPMENT_ISSUER,
    IssuerSettings,
    read_issuers,
    read_issuers_file,
    trusted_issuers,
)
from gateway.signing_keys import KeyFile
from gateway.tokens import ALGORITHMS, TokenRefused, TokenVerifier
from schemas.access.permissions import Grant
from schemas.access.roles import READER_ROLE
from schemas.environment import Environment
from schemas.errors import InvalidInput
from schemas.identifiers import OrganizationId

STATE_LOGIN, COUNTY_LOGIN = "https://login.state.example/", "https://login.county.example/"
TWO = f"""
[[issuer]]
issuer = "{STATE_LOGIN}"
audience = "score-streaming"
jwks_uri = "https://login.state.example/keys"
algorithms = ["RS256"]

[[issuer]]
issuer = "{COUNTY_LOGIN}"
audience = "scores"
jwks_file = "county.json"
"""


def read(production: bool = False, **variables: str) -> tuple[IssuerSettings, ...]:
    env = Environment({f"SCORES_{name}": value for name, value in variables.items()})
    issuers = read_issuers(env, production=production)
    env.check()
    return issuers


def keys_in(path: Path, *keys: OKPKey | RSAKey) -> Path:
    path.write_text(json.dumps(KeySet(list(keys)).as_dict(private=False)))
    return path


def test_several_issuers_come_from_a_file_each_with_its_own_keys(tmp_path: Path) -> None:
    file = tmp_path / "issuers.toml"
    file.write_text(TWO)
    assert read(production=True, TOKEN_ISSUERS_FILE=str(file)) == (
        IssuerSettings(
            STATE_LOGIN, "score-streaming", ("RS256",), None, "https://login.state.example/keys",
            "SCORES_TOKEN_ISSUERS_FILE",
        ),
        IssuerSettings(
            COUNTY_LOGIN, "scores", ALGORITHMS, tmp_path / "county.json", None, "SCORES_TOKEN_ISSUERS_FILE"
        ),
    )  # fmt: skip


def test_one_issuer_needs_no_file() -> None:
    assert read(JWKS_FILE="/keys.json") == (
        IssuerSettings(DEVELOPMENT_ISSUER, DEVELOPMENT_AUDIENCE, ALGORITHMS, Path("/keys.json")),
    )
    single = {"TOKEN_ISSUER": STATE_LOGIN, "TOKEN_AUDIENCE": "scores", "TOKEN_ALGORITHM": "ES256"}
    assert read(production=True, JWKS_URL="https://login.state.example/keys", **single) == (
        IssuerSettings(
            STATE_LOGIN, "scores", ("ES256",), jwks_uri="https://login.state.example/keys"
        ),
    )  # fmt: skip
    assert read(production=True, JWKS_URL="discover", **single) == (
        IssuerSettings(STATE_LOGIN, "scores", ("ES256",)),
    )


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "SCORES_JWKS_FILE"),
        ({"JWKS_FILE": "/keys.json", "JWKS_URL": "https://login.state.example/keys"}, "both set"),
        ({"JWKS_URL": "http://login.state.example/keys"}, "https"),
        ({"TOKEN_ISSUERS_FILE": "/nowhere.toml"}, "nowhere.toml"),
    ],
)
def test_a_setting_that_leaves_open_whom_to_believe_is_named(variables: dict[str, str], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        read(**variables)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "issuer"),
        ("issuer = []", "no issuer"),
        ("[[issuer]]\nissuer = 'https://a.example/'", "audience"),
        ("[[issuer]]\nissuer = ''\naudience = 'x'\njwks_file = 'k'", "empty"),
        ("[[issuer]]\nissuer = 'https://a.example/'\naudience = ''\njwks_file = 'k'", "empty"),
        ("[[issuer]]\nissuer = 'https://a.example/'\naudience = 'x'\nsecret = 'y'", "secret"),
        ("[[issuer]]\nissuer = 'https://a.example/'\naudience = 'x'\nalgorithms = ['HS256']", "HS256"),
        ("[[issuer]]\nissuer = 'https://a.example/'\naudience = 'x'\nalgorithms = ['none']", "none"),
        ("[[issuer]]\nissuer = 'https://a.example/'\naudience = 'x'\nalgorithms = []", "algorithms"),
        (
            "[[issuer]]\nissuer = 'a'\naudience = 'x'\njwks_file = 'k'\njwks_uri = 'https://b.example'",
            "one of",
        ),
        ("[[issuer]]\nissuer = 'http://a.example/'\naudience = 'x'", "https"),
        ("[[issuer]]\nissuer = 'a'\naudience = 'x'\njwks_file = 'k'\n" * 2, "twice"),
        ("[[issuer", "not usable"),
    ],
)
def test_a_file_that_is_wrong_says_what_is_wrong(tmp_path: Path, content: str, named: str) -> None:
    file = tmp_path / "issuers.toml"
    file.write_text(content)
    with pytest.raises(InvalidInput, match=named):
        read_issuers_file(file, production=False)


def test_in_production_nobody_is_believed_by_default() -> None:
    with pytest.raises(InvalidInput) as caught:
        read(production=True, JWKS_FILE="/keys.json")
    assert "SCORES_TOKEN_ISSUER is not set" in str(caught.value)
    assert "SCORES_TOKEN_AUDIENCE is not set" in str(caught.value)


def test_production_refuses_the_development_issuer_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="development issuer"):
        read(production=True, JWKS_FILE="/k", TOKEN_ISSUER=DEVELOPMENT_ISSUER, TOKEN_AUDIENCE="scores")
    file = tmp_path / "issuers.toml"
    file.write_text(f"[[issuer]]\nissuer = '{DEVELOPMENT_ISSUER}'\naudience = 'x'\njwks_file = 'k'")
    with pytest.raises(InvalidInput, match="development issuer"):
        read(production=True, TOKEN_ISSUERS_FILE=str(file))


def test_production_refuses_the_development_issuers_keys_under_any_name(tmp_path: Path) -> None:
    issuer = DevelopmentIssuer(tmp_path, issuer=STATE_LOGIN, audience="scores", environment="development")
    KeyFile(issuer.jwks_file).load()
    with pytest.raises(InvalidInput, match="development issuer"):
        KeyFile(issuer.jwks_file, production=True).load()
    ours = IssuerSettings(STATE_LOGIN, "scores", jwks_file=issuer.jwks_file)
    with pytest.raises(InvalidInput, match="development issuer"):
        trusted_issuers([ours], RefreshTimes(), production=True)


def test_a_development_key_that_slips_into_the_file_later_verifies_nothing_in_production(
    tmp_path: Path,
) -> None:
    issuer = DevelopmentIssuer(tmp_path, issuer=STATE_LOGIN, audience="scores", environment="development")
    development = issuer.jwks_file.read_text()
    file = keys_in(tmp_path / "keys.json", OKPKey.generate_key("Ed25519", auto_kid=True))
    ours = IssuerSettings(STATE_LOGIN, "scores", jwks_file=file)
    trusted, _ = trusted_issuers([ours], RefreshTimes(), production=True)
    file.write_text(development)
    token = issuer.issue("ana", [Grant(READER_ROLE, OrganizationId("19" + "0" * 12))], timedelta(hours=1))
    with pytest.raises(TokenRefused):
        TokenVerifier(trusted).verify(token)


def test_a_short_rsa_key_and_a_key_for_encryption_are_no_keys_for_signatures(tmp_path: Path) -> None:
    with pytest.warns(match="2048"):
        short = RSAKey.generate_key(1024, auto_kid=True)
    with pytest.raises(InvalidInput, match="1024 bits"):
        KeyFile(keys_in(tmp_path / "short.json", short)).load()
    sealed = RSAKey.generate_key(2048, parameters={"use": "enc", "kid": "sealed"})
    with pytest.raises(InvalidInput, match="no key for signatures"):
        KeyFile(keys_in(tmp_path / "sealed.json", sealed)).load()

"""Whose tokens are believed: one issuer by variables, or several by a file. Each has keys of its own, never a common pool.

The file is TOML::

    [[issuer]]
    issuer = "https://login.district.example/"
    audience = "score-streaming"
    jwks_uri = "https://login.district.example/keys"   # or jwks_file; neither: OpenID discovery at the issuer
    algorithms = ["RS256"]                              # optional
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from gateway.fetched_keys import FetchedKeys, RefreshTimes, check_address, fetch_keys
from gateway.signing_keys import KeyFile
from gateway.tokens import ALGORITHMS, TrustedIssuer
from schemas.environment import Environment
from schemas.errors import InvalidInput

DEVELOPMENT_ISSUER: Final = "https://issuer.scores.test/"
DEVELOPMENT_AUDIENCE: Final = "score-streaming"
_ISSUERS_SETTING: Final = "SCORES_TOKEN_ISSUERS_FILE"


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """One issuer: its name, whom its tokens are for, and where its keys are; without a place they are discovered."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ALGORITHMS
    jwks_file: Path | None = None
    jwks_uri: str | None = None
    setting: str = "SCORES_JWKS_FILE"  # that names the file


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    issuer: str
    audience: str
    jwks_file: str | None = None
    jwks_uri: str | None = None
    algorithms: tuple[str, ...] = ALGORITHMS


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    issuer: tuple[_Entry, ...]


def read_issuers(env: Environment, *, production: bool) -> tuple[IssuerSettings, ...]:
    """The issuers that the environment names; faults are reported by ``env.check``."""
    file = env.text("SCORES_TOKEN_ISSUERS_FILE", "-")
    try:
        if file != "-":
            issuers = read_issuers_file(Path(file), production=production)
        else:
            issuers = (_single(env, production=production),)
        _refuse_development(issuers, production=production)
    except InvalidInput as error:
        env.refuse(str(error))
        return ()
    return issuers


def read_issuers_file(path: Path, *, production: bool) -> tuple[IssuerSettings, ...]:
    """The issuers of a file; paths in it are relative to it.

    Raises:
        InvalidInput: it cannot be read, or an entry is not usable.
    """
    named = f"{_ISSUERS_SETTING} '{path}'"
    try:
        entries = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).issuer
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise InvalidInput(f"{named} is not usable: {error}; expected [[issuer]] entries") from error
    names = [entry.issuer for entry in entries]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"{named} names '{name}' twice; one entry holds all its keys")
    if not entries:
        raise InvalidInput(f"{named} names no issuer; expected at least one [[issuer]]")
    return tuple(_checked(entry, path.parent, named, production=production) for entry in entries)


def trusted_issuers(
    issuers: Sequence[IssuerSettings], times: RefreshTimes, *, production: bool
) -> tuple[list[TrustedIssuer], list[FetchedKeys]]:
    """The issuers as the verifier needs them; and those keys that must be kept fresh by their ``run``.

    Raises:
        InvalidInput: a key file cannot be read.
    """
    trusted, fetched = [], []
    for one in issuers:
        keys: KeyFile | FetchedKeys
        if one.jwks_file is not None:
            keys = KeyFile(one.jwks_file, setting=one.setting, production=production)
            keys.load()
        else:
            fetch = partial(fetch_keys, one.issuer, one.jwks_uri, production=production)
            keys = FetchedKeys(one.issuer, fetch, times)
            fetched.append(keys)
        trusted.append(TrustedIssuer(one.issuer, one.audience, keys, one.algorithms))
    return trusted, fetched


def _single(env: Environment, *, production: bool) -> IssuerSettings:
    # In production nobody's tokens are believed by default.
    issuer = env.text("SCORES_TOKEN_ISSUER", None if production else DEVELOPMENT_ISSUER)
    audience = env.text("SCORES_TOKEN_AUDIENCE", None if production else DEVELOPMENT_AUDIENCE)
    algorithm = env.choice("SCORES_TOKEN_ALGORITHM", "any", ("any", *ALGORITHMS))
    algorithms = ALGORITHMS if algorithm == "any" else (algorithm,)
    uri = env.text("SCORES_JWKS_URL", "-")
    file = env.text("SCORES_JWKS_FILE", None if uri == "-" else "-")
    if uri == "-":
        return IssuerSettings(issuer, audience, algorithms, jwks_file=Path(file))
    if file != "-":
        raise InvalidInput("SCORES_JWKS_FILE and SCORES_JWKS_URL are both set; one of them has the keys")
    if uri == "discover":
        check_address(issuer, production=production)
        return IssuerSettings(issuer, audience, algorithms)
    check_address(uri, production=production)
    return IssuerSettings(issuer, audience, algorithms, jwks_uri=uri)


def _checked(entry: _Entry, folder: Path, named: str, *, production: bool) -> IssuerSettings:
    unknown = [one for one in entry.algorithms if one not in ALGORITHMS]
    if unknown or not entry.algorithms:
        raise InvalidInput(
            f"{named}: algorithms of '{entry.issuer}' are {list(entry.algorithms)}; expected some of "
            f"{', '.join(ALGORITHMS)}"
        )
    if not entry.issuer or not entry.audience:
        raise InvalidInput(f"{named}: an issuer or its audience is empty")
    if entry.jwks_file is not None and entry.jwks_uri is not None:
        raise InvalidInput(f"{named}: '{entry.issuer}' has jwks_file and jwks_uri; one of them has the keys")
    if entry.jwks_file is None:
        check_address(entry.jwks_uri or entry.issuer, production=production)
    return IssuerSettings(
        entry.issuer,
        entry.audience,
        entry.algorithms,
        jwks_file=None if entry.jwks_file is None else folder / entry.jwks_file,
        jwks_uri=entry.jwks_uri,
        setting=_ISSUERS_SETTING,
    )


def _refuse_development(issuers: Sequence[IssuerSettings], *, production: bool) -> None:
    if production and any(one.issuer == DEVELOPMENT_ISSUER for one in issuers):
        raise InvalidInput(
            f"'{DEVELOPMENT_ISSUER}' is the development issuer: with SCORES_ENVIRONMENT=production its tokens open "
            "nothing; name your identity provider"
        )

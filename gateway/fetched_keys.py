"""An issuer's keys from its JWKS address, fetched in the background; no request ever waits for them.

Fetched anew on a timer, and when a token names a key that is not here: one fetch at a time, and never two within
``shortest_seconds``, however many such tokens come. While the issuer cannot be reached the keys of before go on serving, up
to an age: a key that was removed must stop verifying some time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx
from joserfc.jwk import Key

from gateway.signing_keys import KeysAway, named_first, parse_keys
from schemas.errors import DependencyUnavailable, InvalidInput
from schemas.process.waiting import wait_at_most

logger = logging.getLogger(__name__)

LARGEST_DOCUMENT: Final = 262_144  # bytes; a set of three RSA keys has three thousand
_FETCH_SECONDS: Final = 10.0
_LONGEST_NAME: Final = 256  # of a key, as tokens say it
_MOST_NAMES: Final = 1_000  # that tokens may say and nobody has; then more are taken for forged
_DISCOVERY_PATH: Final = "/.well-known/openid-configuration"

Fetch = Callable[[], Awaitable[list[Key]]]


@dataclass(frozen=True, slots=True)
class RefreshTimes:
    """How often keys are fetched, and how old they may become, in seconds."""

    every_seconds: float = 300.0
    shortest_seconds: float = 10.0
    longest_age_seconds: float = 3_600.0


class FetchedKeys:
    """The keys that ``fetch`` last returned."""

    def __init__(
        self,
        issuer: str,
        fetch: Fetch,
        times: RefreshTimes,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._times = times
        self._clock = clock
        self._keys: list[Key] = []
        self._fetched: float | None = None
        self._wanted = asyncio.Event()
        self._asked: set[str] = set()  # names that no fetch has looked for yet
        self._unheard: dict[str, None] = {}  # names that the issuer does not have, as of a fetch

    def candidates(self, kid: object) -> Sequence[Key]:
        """The keys of that name, or all.

        Raises:
            KeysAway: there are none, or they are too old.
        """
        why = self.absence()
        if why is not None:
            raise KeysAway(why)
        return named_first(self._keys, kid)

    def may_be_behind(self, kid: object) -> bool:
        """Whether a fetch is due that may bring a key of that name.

        A name is looked for once; what the issuer did not have then, it may get by the timer.
        """
        if not isinstance(kid, str) or len(kid) > _LONGEST_NAME or kid in self._unheard:
            return False
        if any(key.kid == kid for key in self._keys):
            return False
        if kid not in self._asked and len(self._asked) >= _MOST_NAMES:
            return False
        self._asked.add(kid)
        self._wanted.set()
        return True

    def absence(self) -> str | None:
        """Why no token of this issuer can be verified just now."""
        if self._fetched is None:
            return f"the keys of {self._issuer} have not been fetched yet"
        if self._clock() - self._fetched > self._times.longest_age_seconds:
            return f"the keys of {self._issuer} could not be fetched for too long"
        return None

    async def run(self) -> None:
        """Fetch until cancelled."""
        while True:
            self._wanted.clear()
            fetched = await self.refresh()
            await asyncio.sleep(self._times.shortest_seconds)
            if fetched:
                rest = max(0.0, self._times.every_seconds - self._times.shortest_seconds)
                await wait_at_most(self._wanted, rest)

    async def refresh(self) -> bool:
        """Fetch now; whether that succeeded. What was fetched before stays when it did not."""
        began, looked_for = self._clock(), self._asked
        self._asked = set()
        try:
            keys = await self._fetch()
        except (InvalidInput, DependencyUnavailable) as error:
            self._asked |= looked_for
            logger.warning("the keys of an issuer cannot be fetched issuer=%s error=%s", self._issuer, error)
            return False
        self._keys, self._fetched = keys, began
        present = {key.kid for key in keys}
        unheard = dict.fromkeys(name for name in (*self._unheard, *looked_for) if name not in present)
        self._unheard = dict.fromkeys(list(unheard)[-_MOST_NAMES:])
        return True


async def fetch_keys(issuer: str, jwks_uri: str | None, *, production: bool) -> list[Key]:
    """The keys at an address, or at the one that the issuer's OpenID configuration names.

    Raises:
        InvalidInput: what came is not usable.
        DependencyUnavailable: nothing came, or not in time.
    """
    try:
        async with asyncio.timeout(_FETCH_SECONDS):
            if jwks_uri is None:
                jwks_uri = await _discovered(issuer, production=production)
            content = await _get(jwks_uri)
    except TimeoutError as error:
        raise DependencyUnavailable(f"nothing came within {_FETCH_SECONDS:g} s") from error
    return parse_keys(content, source=jwks_uri, production=production)


def check_address(url: str, *, production: bool) -> None:
    """Refuse an address that others could answer in the issuer's place.

    Raises:
        InvalidInput: it is not https; plain http is for 127.0.0.1, while developing.
    """
    try:
        parts = urlsplit(url)
        loopback = parts.hostname == "127.0.0.1"
    except ValueError:
        parts, loopback = urlsplit(""), False
    plain = parts.scheme == "http" and loopback and not production
    if not (parts.hostname and (parts.scheme == "https" or plain)) or parts.username is not None:
        raise InvalidInput(f"'{url[:200]}' is no address for keys; expected https://...")


async def _discovered(issuer: str, *, production: bool) -> str:
    check_address(issuer, production=production)
    source = issuer.rstrip("/") + _DISCOVERY_PATH
    try:
        said = json.loads(await _get(source))
        named, address = said["issuer"], said["jwks_uri"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput(f"{source} is no OpenID configuration ({error!r})") from error
    # Another name there would let one issuer's keys speak for the other.
    if named != issuer or not isinstance(address, str):
        raise InvalidInput(f"{source} describes another issuer; expected '{issuer}'")
    check_address(address, production=production)
    return address


async def _get(url: str) -> bytes:
    # Through the proxy of the environment, if any; never for this machine's own addresses.
    loopback = urlsplit(url).hostname == "127.0.0.1"
    body = bytearray()
    try:
        async with (
            httpx.AsyncClient(follow_redirects=False, timeout=_FETCH_SECONDS, trust_env=not loopback) as http,
            http.stream("GET", url, headers={"Accept": "application/json"}) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                raise DependencyUnavailable(f"{url} answered {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_DOCUMENT:
                    raise InvalidInput(f"{url} sent more than {LARGEST_DOCUMENT} bytes")
    except httpx.HTTPError as error:
        raise DependencyUnavailable(f"{url} cannot be read ({error!r})") from error
    return bytes(body)

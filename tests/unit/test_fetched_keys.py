"""An issuer's keys from its address: when they are fetched, what holds when they cannot be, and for how long."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from fake_tables import until
from joserfc.jwk import Key, OKPKey

from gateway.fetched_keys import FetchedKeys, RefreshTimes, check_address
from gateway.signing_keys import KeysAway
from schemas.errors import DependencyUnavailable, InvalidInput

pytestmark = pytest.mark.anyio

ISSUER = "https://login.example.test/"
OLD, NEW = (OKPKey.generate_key("Ed25519", parameters={"kid": name}) for name in ("old", "new"))


@dataclass
class Issuer:
    """Somebody who publishes keys, and a clock."""

    keys: list[Key] = field(default_factory=lambda: [OLD])
    away: bool = False
    fetches: int = 0
    seconds: float = 1_000.0

    async def fetch(self) -> list[Key]:
        self.fetches += 1
        if self.away:
            raise DependencyUnavailable("away")
        return list(self.keys)

    def reader(self, **times: float) -> FetchedKeys:
        return FetchedKeys(ISSUER, self.fetch, RefreshTimes(**times), clock=lambda: self.seconds)


async def test_before_the_first_fetch_nobody_is_refused_for_good() -> None:
    keys = Issuer().reader()
    with pytest.raises(KeysAway, match="not been fetched"):
        keys.candidates("old")
    assert keys.absence() is not None


async def test_the_name_of_a_key_is_a_hint() -> None:
    issuer = Issuer([OLD, NEW])
    keys = issuer.reader()
    await keys.refresh()
    assert keys.candidates("new") == [NEW]
    assert keys.candidates("unheard of") == [OLD, NEW]
    assert keys.candidates(None) == [OLD, NEW]


async def test_keys_of_before_serve_while_the_issuer_is_away_and_no_longer_than_their_age() -> None:
    issuer = Issuer()
    keys = issuer.reader(longest_age_seconds=3_600)
    await keys.refresh()
    issuer.away = True
    issuer.seconds += 3_600
    assert not await keys.refresh()
    assert keys.candidates("old") == [OLD]
    issuer.seconds += 1
    with pytest.raises(KeysAway, match="too long"):
        keys.candidates("old")
    issuer.away = False
    await keys.refresh()
    assert keys.candidates("old") == [OLD]


async def test_a_removed_key_stops_verifying_with_the_next_fetch() -> None:
    issuer = Issuer([OLD, NEW])
    keys = issuer.reader()
    await keys.refresh()
    issuer.keys = [NEW]
    await keys.refresh()
    assert keys.candidates("old") == [NEW]
    assert keys.may_be_behind("old")  # asked for once
    await keys.refresh()
    assert not keys.may_be_behind("old")  # and then it is known to be gone: its tokens are refused for good


async def test_a_key_published_a_moment_ago_is_fetched_when_a_token_names_it() -> None:
    issuer = Issuer()
    keys = issuer.reader(every_seconds=3_600, shortest_seconds=0)
    running = asyncio.create_task(keys.run())
    await until(lambda: keys.absence() is None)
    issuer.keys = [OLD, NEW]
    assert keys.may_be_behind("new")
    await until(lambda: keys.candidates("new") == [NEW])
    assert not keys.may_be_behind("new")
    assert issuer.fetches == 2
    running.cancel()


async def test_a_flood_of_forged_names_is_one_fetch_and_none_before_the_interval_is_over() -> None:
    issuer = Issuer()
    keys = issuer.reader(every_seconds=3_600, shortest_seconds=3_600)
    running = asyncio.create_task(keys.run())
    await until(lambda: keys.absence() is None)
    asked = sum(keys.may_be_behind(f"forged-{number}") for number in range(5_000))
    assert asked == 1_000  # the rest is refused at once
    for _ in range(100):
        await asyncio.sleep(0)
    assert issuer.fetches == 1
    await keys.refresh()
    assert not any(keys.may_be_behind(f"forged-{number}") for number in range(1_000))
    running.cancel()


@pytest.mark.parametrize("kid", [None, 7, {"kid": "x"}, "x" * 257])
async def test_what_is_no_name_of_a_key_is_not_asked_for(kid: object) -> None:
    keys = Issuer().reader()
    await keys.refresh()
    assert not keys.may_be_behind(kid)


async def test_a_name_that_was_asked_for_in_vain_is_asked_for_again_when_the_fetch_failed() -> None:
    issuer = Issuer()
    keys = issuer.reader()
    await keys.refresh()
    assert keys.may_be_behind("new")
    issuer.away = True
    await keys.refresh()
    assert keys.may_be_behind("new")


@pytest.mark.parametrize("url", ["https://login.example.test/keys", "https://login.example.test:8443/keys"])
async def test_keys_come_by_https(url: str) -> None:
    check_address(url, production=True)


async def test_plain_http_is_for_this_machine_while_developing() -> None:
    check_address("http://127.0.0.1:8080/keys", production=False)
    with pytest.raises(InvalidInput, match="https"):
        check_address("http://127.0.0.1:8080/keys", production=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.test/keys",
        "http://localhost/keys",
        "http://127.0.0.1.example.test/keys",
        "http://user@127.0.0.1/keys",
        "https://user:secret@login.example.test/",
        "file:///etc/passwd",
        "https://",
        "//login.example.test",
        "http://[::1",
        "",
    ],
)
@pytest.mark.parametrize("production", [True, False])
async def test_an_address_that_others_could_answer_is_refused(url: str, production: bool) -> None:
    with pytest.raises(InvalidInput):
        check_address(url, production=production)

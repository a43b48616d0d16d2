"""A crowd of webhook endpoints whose systems are all away: made, confirmed, and taken away again as their owners would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Final, cast

from redis import Redis

from cli.simulator.county import County
from schemas.identifiers import county_of
from schemas.webhooks import keys
from schemas.webhooks.endpoints import Followed, decode_state
from schemas.webhooks.ids import endpoint_id
from schemas.webhooks.secrets import new_secret
from tests.drills.load import county
from tests.drills.stand import Stand
from tests.stack import wait_for
from tests.webhook_fleet.conduct import Conduct
from tests.webhook_fleet.fleet import Member, enlist
from tests.webhook_fleet.producing import TESTS
from tests.webhook_fleet.receiving import Hook

ENDPOINTS: Final = 150
# Each follows a county with 24 schools: a message for each organization, so 4,200 will wait, and they come evenly.
GROWS_SECONDS: Final = 120

_SEED: Final = 11
_CONFIRMED_SECONDS: Final = 60.0


@contextmanager
def crowd_away(stand: Stand) -> Iterator[None]:
    """Systems confirm that they want webhooks, and from then on answer 500; inside ``with``."""
    members = _members(county())
    ports = stand.receivers.open([Hook(member.id, "") for member in members])
    with Redis.from_url(stand.surroundings.redis.url) as redis:
        try:
            # While they confirm there is nothing to tell, so that none of them gets anything before it is away.
            with stand.load.idle():
                stand.receivers.behave({member.id: Conduct.LIVE for member in members})
                enlist(redis, members, ports, _SEED)
                wait_for(lambda: _confirmed(redis, members), "all have confirmed", _CONFIRMED_SECONDS)
                stand.receivers.behave({member.id: Conduct.FAILING for member in members})
            yield
        finally:
            _withdraw(redis, members)


def _members(county: County) -> list[Member]:
    rng = Random(f"crowd {_SEED}")
    everything = (Followed(county_of(county.schools[0].cds)),)
    return [
        Member(
            id=endpoint_id(rng.randbytes(16)),
            conduct=Conduct.FAILING,
            secret=new_secret("v1", rng.randbytes(32)),
            follows=everything,
            # Who wants to hear less often is told later: that is how the backlog grows, and does not jump.
            interval_seconds=1 + number * GROWS_SECONDS // ENDPOINTS,
            full=False,
            tests=TESTS[:1],
        )
        for number in range(ENDPOINTS)
    ]


def _confirmed(redis: Redis, members: Sequence[Member]) -> bool:
    stored = cast("list[bytes | None]", redis.hmget(keys.STATES, [member.id for member in members]))
    return all(decode_state(state).confirmed_ms is not None for state in stored)


def _withdraw(redis: Redis, members: Sequence[Member]) -> None:
    with redis.pipeline(transaction=True) as pipe:
        pipe.hdel(keys.ENDPOINTS, *(member.id for member in members))
        pipe.incr(keys.VERSION)
        pipe.execute()

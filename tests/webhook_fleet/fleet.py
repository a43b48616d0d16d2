"""The endpoints of a run: what each follows, how it is signed for, and how it behaves; drawn from a seed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Final

from redis import Redis

from cli.simulator.county import County
from cli.stack.ports import HOST
from schemas.access.permissions import Grant
from schemas.access.roles import READER_ROLE
from schemas.aggregates import cell_name
from schemas.environment import Secret
from schemas.identifiers import STATE, OrganizationId, ancestry, county_of, district_of
from schemas.webhooks.endpoints import Endpoint, EventType, Followed, SecretKind
from schemas.webhooks.ids import endpoint_id
from schemas.webhooks.keys import ENDPOINTS, ORDER_FIELD, ORDERS, VERSION
from schemas.webhooks.messages import Order, encode_stored
from schemas.webhooks.secrets import SecretBox, SigningSecret, new_secret
from tests.webhook_fleet.conduct import Conduct, mixture

KEY: Final = "a key of the fleet of receivers, of no value"

# Interval in seconds; what many follow is told less often, or nobody would be told of anything else.
_NEAR: Final = (0, 1, 1, 2)
_FAR: Final = (3, 4, 5)
_RATE: Final = 200.0  # what is asked here is not how one endpoint is spared
_AT_ONCE: Final = 500


@dataclass(frozen=True)
class Member:
    """One endpoint of the fleet, and what its receiver does."""

    id: str
    conduct: Conduct
    secret: SigningSecret
    follows: tuple[Followed, ...]
    interval_seconds: int
    full: bool
    tests: tuple[str, ...] = ()

    @cached_property
    def _near(self) -> frozenset[OrganizationId]:
        return frozenset(one.organization for one in self.follows)

    @cached_property
    def _below(self) -> frozenset[OrganizationId]:
        return frozenset(one.organization for one in self.follows if one.below)

    def wants(self, organization: str, cell: str) -> bool:
        """Whether it follows a cell of an organization."""
        if self.tests and cell_name(cell).test not in self.tests:
            return False
        if organization in self._near:
            return True
        return any(above in self._below for above in ancestry(OrganizationId(organization)))

    def endpoint(self, port: int, box: SecretBox, rng: Random, now_ms: int) -> Endpoint:
        """As the gateway keeps it."""
        sealed = box.seal(self.secret, endpoint=self.id, nonce=rng.randbytes(12), created_ms=now_ms)
        return Endpoint(
            id=self.id,
            url=f"http://{HOST}:{port}/scores",
            subject="fleet",
            grants=(Grant(READER_ROLE, STATE),),
            follows=self.follows,
            events=(EventType.AGGREGATE_UPDATED,),
            tests=self.tests,
            interval_seconds=self.interval_seconds,
            payload="full" if self.full else "thin",
            rate=_RATE,
            private_network=True,
            secrets=(sealed,),
            created_ms=now_ms,
            updated_ms=now_ms,
            issued_ms=now_ms,
        )


def fleet(endpoints: int, county: County, tests: Sequence[str], seed: int) -> list[Member]:
    """So many members, each following something of the county."""
    rng = Random(f"fleet {seed}")
    schools = [school.cds for school in county.schools]
    return [_member(conduct, schools, tests, rng) for conduct in mixture(endpoints, rng)]


def enlist(redis: Redis, members: Sequence[Member], ports: Mapping[str, int], seed: int) -> None:
    """Write the endpoints, and the orders that go with them, as the gateway does."""
    rng = Random(f"enlisted {seed}")
    box = SecretBox(Secret(KEY.encode()))
    now = time.time()
    for begin in range(0, len(members), _AT_ONCE):
        with redis.pipeline(transaction=True) as pipe:
            for member in members[begin : begin + _AT_ONCE]:
                made = member.endpoint(ports[member.id], box, rng, int(now * 1000))
                pipe.hset(ENDPOINTS, member.id, encode_stored(made))
                order = Order(kind="confirm", endpoint=member.id, by=made.subject)
                pipe.xadd(ORDERS, {ORDER_FIELD: encode_stored(order)})
            pipe.set(VERSION, int(now * 1_000_000) + begin)
            pipe.execute()


def _member(conduct: Conduct, schools: Sequence[OrganizationId], tests: Sequence[str], rng: Random) -> Member:
    follows, intervals = _follows(schools, rng)
    kind: SecretKind = "v1a" if rng.random() < 0.1 else "v1"
    return Member(
        id=endpoint_id(rng.randbytes(16)),
        conduct=conduct,
        secret=new_secret(kind, rng.randbytes(32)),
        follows=follows,
        interval_seconds=rng.choice(intervals),
        full=rng.random() < 0.2,
        tests=(rng.choice(tests),) if rng.random() < 0.1 else (),
    )


def _follows(schools: Sequence[OrganizationId], rng: Random) -> tuple[tuple[Followed, ...], tuple[int, ...]]:
    school = rng.choice(schools)
    drawn = rng.random()
    if drawn < 0.5:
        return (Followed(school),), _NEAR
    if drawn < 0.85:
        return (Followed(district_of(school)),), _NEAR
    if drawn < 0.92:
        return tuple(Followed(one, below=False) for one in _two(schools, rng)), _NEAR
    return (Followed(county_of(school) if drawn < 0.97 else STATE, below=False),), _FAR


def _two(schools: Sequence[OrganizationId], rng: Random) -> Iterator[OrganizationId]:
    yield from rng.sample(list(schools), min(2, len(schools)))
